"""Partial aggregates of all sources become closed windows, published once a revision."""
