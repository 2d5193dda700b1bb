"""A derived definition as people write it."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from metric_registry.derived.resolved import Absent
from metric_registry.models import MAX_LIST, Section
from metric_registry.values import Attribute, DefinitionName, Names, failure

HOWS = ("ratio", "sum", "difference", "mean", "quantile", "share")


def _finite(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        raise failure("TM103", f"must be a number, and not `{text}`", "write it unquoted")
    return float(value) + 0.0


def _part(value: object) -> float:
    found = _finite(value)
    if not 0 <= found <= 1:
        raise failure("TM103", f"must be within 0 and 1, and not `{value}`", "p99 is `0.99`")
    return found


Part = Annotated[
    float, BeforeValidator(_part), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Bound = Annotated[float, BeforeValidator(_finite), WithJsonSchema({"type": "number"})]
_ABSENT = (
    "What a group is worth that an input has no row of in a window: `none`, so there is no row; or "
    "`zero`, once the input's row can be waited for no longer."
)


class Ratio(Section):
    """One number by another: of both the sums, never a mean of ratios."""

    of: DefinitionName = Field(description="The definition that is divided.")
    by: DefinitionName = Field(description="The one that it is divided by; by zero there is none.")
    absent: Absent = Field(
        default="none", description=f"{_ABSENT} Of `of` alone: nothing is divided by nothing."
    )


class Sum(Section):
    """Numbers of one dimension, added up."""

    of: list[DefinitionName] = Field(
        min_length=2, max_length=MAX_LIST, description="The definitions, two or more."
    )
    absent: Absent = Field(default="none", description=_ABSENT)


class Difference(Section):
    """One number less others of its dimension."""

    of: DefinitionName = Field(description="The definition that something is taken from.")
    less: Names = Field(description="What is taken from it: a definition, or several.")
    absent: Absent = Field(default="none", description=_ABSENT)


class Mean(Section):
    """The mean of what a histogram holds: its sum by its count."""

    of: DefinitionName = Field(description="A definition whose results are histograms.")


class Quantile(Section):
    """The value that a part of what a histogram holds does not exceed."""

    of: DefinitionName = Field(description="A definition whose results are histograms.")
    q: Part = Field(description="Which part: 0.99 for p99.")


class Share(Section):
    """The share of what a histogram holds that does not exceed a bound."""

    of: DefinitionName = Field(description="A definition whose results are explicit histograms.")
    at_most: Bound = Field(
        description="The bound, in the unit of `of`: one of the histograms' own, so that nothing "
        "is guessed."
    )


class Derive(Section):
    """What is computed: one of these."""

    ratio: Ratio | None = Field(default=None, description="`of` by `by`.")
    sum: Sum | None = Field(default=None, description="All of `of` together.")
    difference: Difference | None = Field(default=None, description="`of` less `less`.")
    mean: Mean | None = Field(default=None, description="The mean of a histogram.")
    quantile: Quantile | None = Field(default=None, description="A quantile of a histogram.")
    share: Share | None = Field(
        default=None, description="The share of a histogram up to one of its bounds."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Derive:
        stated = [how for how in HOWS if getattr(self, how) is not None]
        if len(stated) != 1:
            said = " and ".join(f"`{how}`" for how in stated) or "nothing"
            message = f"a derived definition is one thing, and this says {said}"
            advice = "write one of " + ", ".join(f"`{how}`" for how in HOWS)
            raise failure("TM802", message, advice)
        return self

    @property
    def how(self) -> str:
        """Which one it is."""
        return next(how for how in HOWS if getattr(self, how) is not None)

    @property
    def stated(self) -> Any:
        """What is said of it."""
        return getattr(self, self.how)

    @property
    def inputs(self) -> list[tuple[str, tuple[str | int, ...]]]:
        """The names of the inputs in their order, each with its path in the document."""
        given, at = self.stated, ("derive", self.how)
        if isinstance(given, Sum):
            return [(name, (*at, "of", index)) for index, name in enumerate(given.of)]
        found: list[tuple[str, tuple[str | int, ...]]] = [(given.of, (*at, "of"))]
        if isinstance(given, Ratio):
            found.append((given.by, (*at, "by")))
        if isinstance(given, Difference):
            found += [(name, (*at, "less", index)) for index, name in enumerate(given.less)]
        return found

    @property
    def absent(self) -> Absent:
        """Of a histogram: none."""
        return cast("Absent", getattr(self.stated, "absent", "none"))

    @property
    def parameter(self) -> float | None:
        """Of a quantile which, of a share the bound."""
        given = self.stated
        if isinstance(given, Quantile):
            return given.q
        return given.at_most if isinstance(given, Share) else None


class DerivedSpace(Section):
    """What a group is."""

    keep: list[Attribute] = Field(
        max_length=MAX_LIST,
        description="Attributes that a group keeps, of those that all inputs keep; all of these "
        "unless said. An input that keeps more must add up, and is added up.",
    )


class DerivedDefinition(Section):
    """What is computed from rows of other definitions, when it is asked for: a view of the store.

    It exists at every window size that all its inputs have, and is on no topic.
    """

    api_version: Literal["tidemill/v1"] = Field(alias="apiVersion", description="tidemill/v1")
    kind: Literal["Derived"] = Field(description="Derived")
    name: DefinitionName = Field(description="Its name, and that of its view.")
    description: str | None = Field(default=None, description="What the number means.")
    owner: str | None = Field(
        default=None, description="Who answers for it; that of the folder's defaults unless said."
    )
    unit: str | None = Field(
        default=None,
        description="Unit of the result in UCUM, to which it is converted; what follows from the "
        "inputs unless said.",
    )
    derive: Derive
    space: DerivedSpace | None = Field(
        default=None, description="What a group is; all that the inputs have in common unless said."
    )
    include: Names = Field(
        default=(), description="Files that are read as well, relative to this one."
    )
