"""What is wrong with a derived definition, by the definitions that it is derived from; TM8."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from metric_registry.derived.models import DerivedDefinition
from metric_registry.derived.resolved import OF_HISTOGRAMS, common
from metric_registry.derived.units import Factors, factors
from metric_registry.fields import Problem
from metric_registry.granularities import text_of
from metric_registry.names import CANDIDATE, TABLES, is_candidate
from metric_registry.over_points import bounds_of, name_in
from metric_registry.plan import ResolvedDefinition
from metric_registry.rules.naming import too_long
from metric_registry.syntax.nodes import Path

_MEANS = ("avg", "histogram_avg")
_NO_NUMBERS = ("histogram", "exponential_histogram")


@dataclass(frozen=True, slots=True)
class Inputs:
    """A derived definition, and the definitions that there are.

    Attributes:
        known: Definitions by name.
        derived: Names of derived ones.
    """

    model: DerivedDefinition
    known: Mapping[str, ResolvedDefinition]
    derived: Collection[str]

    @property
    def found(self) -> list[tuple[ResolvedDefinition, Path]]:
        """The inputs that there are, in order."""
        named = self.model.derive.inputs
        return [(self.known[name], path) for name, path in named if name in self.known]

    @property
    def shared(self) -> tuple[str, ...]:
        """What all inputs keep, sorted."""
        kept = [set(one.keep) for one, _ in self.found]
        return tuple(sorted(set[str].intersection(*kept))) if kept else ()

    @property
    def keep(self) -> tuple[str, ...]:
        """What a group keeps, sorted."""
        stated = self.model.space
        if stated is None:
            return self.shared
        return tuple(sorted(set(stated.keep) - {"tenant"}))

    @property
    def factors(self) -> Factors | Problem:
        """What the inputs' values are multiplied by."""
        return factors(self.model, [one for one, _ in self.found])


def alone(model: DerivedDefinition) -> Iterator[Problem]:
    """What a derived definition shows by itself: TM111, TM112, TM114, TM115, TM119."""
    for code, name, given in (
        ("TM111", "owner", model.owner),
        ("TM112", "description", model.description),
    ):
        if given is None or not given.strip():
            yield Problem(
                code=code,
                message=f"`{model.name}` has no {name}",
                path=("name",) if given is None else (name,),
                help=f"add `{name}: ...`",
            )
    if model.name in TABLES:
        yield Problem(
            code="TM114",
            message=f"`{model.name}` is a table of the store, so the definition would have no view",
            path=("name",),
            help=f"write what is computed, such as `requests.{model.name}`",
        )
    if is_candidate(model.name):
        yield Problem(
            code="TM119",
            message=f"names that end in `{CANDIDATE}` are those of candidates, which run beside "
            "a definition for a time",
            path=("name",),
            help=f"name it `{model.name.removesuffix(CANDIDATE)}`; a derived definition has no "
            "candidate",
        )
    yield from too_long(model.name)


def problems(given: Inputs) -> Iterator[Problem]:
    """Everything that is wrong with it beside its own fields. With an error there is no result."""
    missing = list(_missing(given))
    yield from missing
    twice = list(_twice(given))
    yield from twice
    if missing or twice:
        return
    kinds = list(_kinds(given))
    yield from kinds
    yield from _granularities(given)
    yield from _keep(given)
    if kinds:
        return
    if isinstance(wrong := given.factors, Problem):
        yield wrong
    yield from _bounds(given)
    yield from _suspicious(given)


def _missing(given: Inputs) -> Iterator[Problem]:
    """TM801, TM803."""
    for name, path in given.model.derive.inputs:
        if name in given.known:
            continue
        if name in given.derived:
            itself = name == given.model.name
            yield Problem(
                code="TM803",
                message=f"`{name}` is derived {'from itself' if itself else 'as well'}",
                path=path,
                help="derive from what is computed from points: a ratio of ratios, or a sum of "
                "quantiles, is none of what was measured",
            )
            continue
        near = difflib.get_close_matches(name, given.known, n=1)
        yield Problem(
            code="TM801",
            message=f"no definition is named `{name}`",
            path=path,
            help=(f"did you mean `{near[0]}`? " if near else "")
            + "a file that is checked alone reads others by `include`",
            replacement=near[0] if near else None,
        )


def _twice(given: Inputs) -> Iterator[Problem]:
    """TM804."""
    seen: set[str] = set()
    for name, path in given.model.derive.inputs:
        if name in seen:
            yield Problem(
                code="TM804",
                message=f"`{name}` stands twice",
                path=path,
                help="name each input once",
            )
        seen.add(name)


def _kinds(given: Inputs) -> Iterator[Problem]:
    """TM805: numbers are of numbers, and what is of a histogram of a histogram."""
    how = given.model.derive.how
    for one, path in given.found:
        is_histogram = one.instrument in _NO_NUMBERS
        if how in OF_HISTOGRAMS and not is_histogram:
            yield Problem(
                code="TM805",
                message=f"`{one.name}` makes numbers, and a {how} is of histograms",
                path=path,
                help="let it make histograms: `aggregate: {over_points: exponential_histogram}`, "
                "or `{explicit_histogram: [...]}`",
            )
        elif how not in OF_HISTOGRAMS and is_histogram:
            yield Problem(
                code="TM805",
                message=f"`{one.name}` makes histograms, and a {how} is of numbers",
                path=path,
                help="name a definition that counts, such as `aggregate: {over_points: count}`",
            )
        elif how == "share" and one.instrument != "histogram":
            yield Problem(
                code="TM808",
                message=f"the buckets of `{one.name}` have bounds that its data choose",
                path=path,
                help="a share is exact at a bound that is there: let a definition make "
                "`{explicit_histogram: [...]}` with this one",
            )


def _granularities(given: Inputs) -> Iterator[Problem]:
    """TM806, TM807: windows that all inputs have."""
    sizes = {one.name: (one.granularities, one.zone_rules) for one, _ in given.found}
    shared, apart = common(sizes)
    zones = " and ".join(sorted({one.zone for one, _ in given.found}))
    if not shared:
        said = "; ".join(
            f"`{one.name}` has {', '.join(map(text_of, one.granularities))}"
            + (f" of {one.zone}" if one.zone_rules else "")
            for one, _ in given.found
        )
        yield Problem(
            code="TM806",
            message=f"no window size is common to all inputs: {said}",
            path=("derive",),
            help="add one to `time.granularities` of those that lack it; rows are never made of "
            "other windows' rows",
        )
    elif apart:
        listed = ", ".join(f"`{text_of(size)}`" for size in apart)
        yield Problem(
            code="TM807",
            message=f"there is no {listed}, which ends at other times in {zones}",
            path=("derive",),
            help="give the inputs one `time.zone`; the other window sizes are computed",
        )


def _keep(given: Inputs) -> Iterator[Problem]:
    """TM809, TM810: what a group is."""
    stated = given.model.space
    lacking = False
    for at, name in enumerate(stated.keep if stated is not None else ()):
        without = [one.name for one, _ in given.found if name not in (*one.keep, "tenant")]
        if without:
            lacking = True
            yield Problem(
                code="TM809",
                message=f"`{without[0]}` does not keep `{name}`",
                path=("space", "keep", at),
                help="keep it in that definition, or take it out here",
            )
    if lacking:
        return
    for one, path in given.found:
        more = sorted(set(one.keep) - set(given.keep))
        adds = one.instrument == "sum"
        if more and not adds:
            listed = ", ".join(f"`{name}`" for name in more)
            yield Problem(
                code="TM810",
                message=f"`{one.name}` also keeps {listed}, and its numbers do not add up",
                path=path,
                help="make a definition that keeps what the others keep; only counts and sums of "
                "windows are added up over attributes",
            )


def _bounds(given: Inputs) -> Iterator[Problem]:
    """TM808: a share is counted where there is a bound, and guessed nowhere."""
    ((one, _), *others), bound = given.found, given.model.derive.parameter
    if given.model.derive.how != "share" or others or bound is None:
        return
    bounds = bounds_of(one.over_points) or ()
    if bound not in bounds:
        near = min(bounds, key=lambda each: abs(each - bound))
        yield Problem(
            code="TM808",
            message=f"{bound:g} is none of the bounds of `{one.name}`, so what lies below it is "
            "not known",
            path=("derive", "share", "at_most"),
            help=f"the nearest is {near:g}; the bounds are {_few(bounds)}. Another one is added in "
            "`aggregate` of that definition",
        )


def _few(bounds: tuple[float, ...]) -> str:
    shown = [f"{one:g}" for one in bounds[:20]]
    return ", ".join([*shown, "..."] if len(bounds) > len(shown) else shown)


def _suspicious(given: Inputs) -> Iterator[Problem]:
    """TM811: arithmetic of means and of quantiles."""
    how = given.model.derive.how
    if how in OF_HISTOGRAMS:
        return
    for one, path in given.found:
        name = name_in(one.over_points) if one.over_points else ""
        is_mean = name in _MEANS or (not name and one.over_space == "avg")
        if is_mean or name == "quantile":
            what = "means" if is_mean else "quantiles"
            yield Problem(
                code="TM811",
                message=f"a {how} of {what}: `{one.name}` weighs no group by how much it counts",
                path=path,
                help="derive it from sums and counts; if it is meant, say in the description "
                "what it shows",
            )
