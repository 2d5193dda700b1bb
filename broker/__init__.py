"""A replicated log that speaks Kafka's protocol; it imports none of our other packages."""
