"""Compiled loops over columns, and the one decorator that makes them."""
