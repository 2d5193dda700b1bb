"""Whether a stream of OTLP metrics keeps OpenTelemetry's metrics data model."""

from topologies.otlp_check.checker import Checker, Counts
from topologies.otlp_check.findings import Finding
from topologies.otlp_check.rules import RULES, Rule, Severity

__all__ = ["RULES", "Checker", "Counts", "Finding", "Rule", "Severity"]
