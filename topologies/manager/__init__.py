"""What is planned, what is complete, what holds the rest: one authority over the progress topic."""
