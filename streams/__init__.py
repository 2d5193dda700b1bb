"""The stream processing framework: time, state, tasks and workers. It knows no telemetry."""
