"""One file per request kind, named after it; all of them are registered in `table`."""
