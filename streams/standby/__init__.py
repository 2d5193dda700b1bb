"""A copy of another worker's state, kept warm by following its changelog. A core and its host."""
