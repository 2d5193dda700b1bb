"""Cumulative to delta and back, for histograms and sums; see README.md."""
