"""The sink: rolled-up windows from the log into ClickHouse, exactly once."""
