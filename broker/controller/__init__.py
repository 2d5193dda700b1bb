"""Topics, their configuration and identity: a state machine."""
