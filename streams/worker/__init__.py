"""The shell that hosts tasks: consumer, producers, rebalance, executor, Faust."""
