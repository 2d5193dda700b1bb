"""Environments: whether there is the one that was chosen, and what they change."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from metric_registry.fields import Problem
from metric_registry.inherit import Written
from metric_registry.models import MetricDefinition

Validated = MetricDefinition | list[Problem]


def unknown(chosen: str, known: set[str]) -> Problem | None:
    """TM510: an environment of which nothing is said."""
    if not chosen or chosen in known:
        return None
    near = difflib.get_close_matches(chosen, sorted(known), n=1)
    listed = ", ".join(f"`{name}`" for name in sorted(known)) or "none"
    return Problem(
        code="TM510",
        message=f"nothing is said of the environment `{chosen}`",
        help=(f"did you mean `{near[0]}`? " if near else "") + f"there are {listed}",
    )


@dataclass(slots=True)
class Environments:
    """What documents say of environments, and whether any definition is another by it."""

    _asked: dict[tuple[int, str], Written] = field(default_factory=dict[tuple[int, str], Written])
    _needed: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])

    def see(
        self,
        speakers: Sequence[Written],
        name: str,
        plain: Validated,
        there: Validated,
        up_to: Callable[[Written], Validated],
    ) -> None:
        """Looks at a definition in an environment.

        Args:
            speakers: Who says something of the environment, the lightest first.
            plain, there: The definition without what they say, and with all of it.
            up_to: The definition with what is said up to one of them.
        """
        before = plain
        for one in speakers:
            after = there if one is speakers[-1] else up_to(one)
            self._asked[id(one), name] = one
            if isinstance(before, list) or before != after:
                self._needed.add((id(one), name))
            before = after

    def unused(self) -> Iterator[tuple[Written, Problem]]:
        """TM515. Of defaults, where all that lies beside them was looked for."""
        for (number, name), one in self._asked.items():
            known = one.wanted and not (one.kind == "Defaults" and one.alone)
            if known and (number, name) not in self._needed and one.environments[name].entries:
                whose = "any definition" if one.kind == "Defaults" else "the definition"
                yield (
                    one,
                    Problem(
                        code="TM515",
                        message=f"the environment `{name}` changes nothing of {whose}: what is "
                        "said here is so without it",
                        path=("environments", name),
                        on_key=True,
                        help=f"remove it, or write what is otherwise there; `{name}: {{}}` says "
                        "that there is such an environment",
                    ),
                )
