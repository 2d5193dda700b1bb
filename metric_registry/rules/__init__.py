"""Checks of what a definition means. One file a theme; each rule is a function in one table.

Input: a `Subject`. Output: problems. To add a check: a function beside its neighbours, a line in
its file's RULES, a code in the catalogue, and a faulty example among the tests.
"""

from __future__ import annotations

from metric_registry.rules import (
    across,
    attributes,
    hierarchies,
    histograms,
    listing,
    lookups,
    measurement,
    naming,
    publication,
    sampled,
    windows,
)
from metric_registry.rules.subject import Rule, Settings, Subject

RULES_AS_WRITTEN = hierarchies.RULES
"""Rules that look at one definition before it is taken apart into levels."""

RULES: tuple[Rule, ...] = (
    *listing.RULES,
    *naming.RULES,
    *measurement.RULES,
    *sampled.RULES,
    *histograms.RULES,
    *attributes.RULES,
    *lookups.RULES,
    *windows.RULES,
    *publication.RULES,
)
"""Rules that look at one definition without a hierarchy, or at the finest level of one."""

RULES_OF_NAMES = naming.RULES
"""Those of them that coarser levels could break where the finest does not."""

RULES_ACROSS = across.RULES
"""Rules that look at all definitions together."""

__all__ = [
    "RULES",
    "RULES_ACROSS",
    "RULES_AS_WRITTEN",
    "RULES_OF_NAMES",
    "Settings",
    "Subject",
]
