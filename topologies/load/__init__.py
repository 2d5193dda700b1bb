"""`tidemill load`: files of old measurements as a historical domain of their own."""
