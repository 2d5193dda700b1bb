"""The edge: OTLP over HTTP in, records of the log out, an answer when the log has them."""
