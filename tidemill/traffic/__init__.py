"""Traffic to learn from: files of several forms, or a topic of the log."""
