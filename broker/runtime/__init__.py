"""Sockets, timers, disks and metrics: the only asyncio in the broker."""
