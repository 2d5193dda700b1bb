"""What streams there are in traffic, and what they look like."""
