"""Asking what the windows of a metric hold, open ones included."""
