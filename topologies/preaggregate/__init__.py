"""Raw points of one partition become sealed partial aggregates."""
