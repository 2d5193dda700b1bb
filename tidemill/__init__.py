"""The command line, configuration and supervision: it wires the other packages together."""
