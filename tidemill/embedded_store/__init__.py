"""ClickHouse on one machine: the engine in a process of its own behind ClickHouse's HTTP."""
