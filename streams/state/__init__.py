"""State stores behind one port: in memory and RocksDB, and the changelog they are rebuilt from."""
