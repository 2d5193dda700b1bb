"""Transactions: who owns a transactional id, and how a transaction ends, as a pure core."""
