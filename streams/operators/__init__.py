"""What the operators of a topology compute, batch by batch. Cores: no I/O, no clock."""
