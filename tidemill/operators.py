"""Names of the product's operators, by which workers tell of their tasks."""

PREAGGREGATION = "preaggregate"
ROLL_UP = "rollup"
MANAGER = "manager"
