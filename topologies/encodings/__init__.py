"""Bytes to columns: one file an input encoding."""
