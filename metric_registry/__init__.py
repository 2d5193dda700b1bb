"""What is measured and how it is rolled up: definitions, checks, resolution and plans."""
