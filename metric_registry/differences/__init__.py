"""What becomes of rollups, tables, topics and their readers when definitions change."""
