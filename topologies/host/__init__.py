"""The host source: measures this machine and delivers it by OTLP, like any other agent."""
