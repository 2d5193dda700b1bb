"""Definitions that are computed from other definitions when they are asked for."""
