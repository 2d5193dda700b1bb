"""A catalogue of definitions as pages that a browser reads from a disk."""
