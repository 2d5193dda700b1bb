"""Interactive queries: any store of a running topology, with the position that it is valid at."""
