"""What the product does, each topology in a folder of its own."""
