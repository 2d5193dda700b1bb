"""One file a command; `tidemill.main` registers them by name and imports the one that is run."""
