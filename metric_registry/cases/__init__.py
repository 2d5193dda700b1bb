"""Tests of definitions: example inputs, and the rows that must become of them.

Input: `*.test.yaml` files beside the definitions. Output: cases without mistakes, or findings; and
what differs between the rows that a case expects and those that were found. Who runs a case is
elsewhere: nothing here computes a number.
"""
