"""The DSL: streams, tables and windows over columns, planned into tasks. See README.md."""
