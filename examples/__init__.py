"""Topologies to start from; each runs as a test, too."""
