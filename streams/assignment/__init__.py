"""Which worker runs which task, and which keep copies of its state. A core: no I/O, no clock."""
