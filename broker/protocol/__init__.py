"""Frames, headers and messages: the hot codecs by hand, the control plane generated."""
