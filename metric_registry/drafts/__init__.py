"""Definitions that somebody could begin with, drafted from what traffic looks like."""
