"""Documents of `kind: Lookup`, with the tables that stand in their files."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from metric_registry.documents import Sources
from metric_registry.errors import Finding
from metric_registry.fields import Problem, validate
from metric_registry.inherit import Written
from metric_registry.load import SourceFile
from metric_registry.lookups import MOST_BYTES, Lookup, RowProblem, read_table
from metric_registry.models import LookupDocument
from metric_registry.plan import ResolvedDefinition, tables_of
from metric_registry.syntax.nodes import Mapping, Scalar, get, to_data
from metric_registry.tables import Table

Tell = Callable[[Written, Problem], None]
Fetch = Callable[[str], Sequence[SourceFile]]


@dataclass(frozen=True, slots=True)
class Read:
    """A lookup's document, and what its table is; None: it has mistakes.

    file: the path of the table's file; empty where the document does not tell it.
    """

    written: Written
    name: str
    lookup: Lookup | None
    file: str = ""


class LookupReader:
    """Reads the tables of documents, each file once.

    given: Files by normal path that are there already; fetch: gives others, None: there are none.
    """

    def __init__(
        self, given: dict[str, SourceFile], fetch: Fetch | None, sources: Sources, largest: int
    ) -> None:
        self._given = given
        self._fetch = fetch
        self._sources = sources
        self._largest = largest
        self.findings: list[Finding] = []

    def read(self, documents: Iterable[Written], tell: Tell) -> list[Read]:
        """What each document stands for. tell: Gets what is wrong with a document."""
        return [self._one(one, tell) for one in documents]

    def _one(self, one: Written, tell: Tell) -> Read:
        validated = validate(to_data(one.root), LookupDocument)
        if isinstance(validated, list):
            for problem in validated:
                tell(one, problem)
            return Read(one, one.name, None)
        target = os.path.normpath(os.path.join(os.path.dirname(one.file), validated.file))
        text = self._text(target)
        if isinstance(text, Problem):
            tell(one, text)
            return Read(one, validated.name, None, target)
        lookup, problems = read_table(validated.name, validated.key, text)
        self.findings += [self._finding(target, each) for each in problems]
        return Read(one, validated.name, lookup if one.clean else None, target)

    def _text(self, target: str) -> str | Problem:
        file = self._file(target)
        path, advice = ("file",), "the path of a file, relative to the one that names it"
        if file.failure:
            return Problem(code="TM001", message=file.failure, path=path, help=advice)
        if len(file.data) > self._largest:
            message = f"`{target}` has more than {self._largest:,} bytes"
            advice = "keep the rows that are looked up, and the columns that are taken"
            return Problem(code="TM010", message=message, path=path, help=advice)
        try:
            return file.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = file.data[: error.start].count(b"\n") + 1
            message = f"line {line} of `{target}`: the byte 0x{file.data[error.start]:02x} is not "
            message += "UTF-8"
            return Problem(code="TM002", message=message, path=path, help="save it as UTF-8")

    def _file(self, target: str) -> SourceFile:
        if target not in self._given:
            failure = f"cannot read `{target}`: it is not among the files"
            found = () if self._fetch is None else self._fetch(target)
            missing = SourceFile(target, failure=failure)
            self._given[target] = next(iter(found), missing)
        file = self._given[target]
        self._sources.add(file)
        return file

    def _finding(self, target: str, problem: RowProblem) -> Finding:
        line = self._sources.line(self._given[target].path, problem.line)
        return Finding(
            code=problem.code,
            message=problem.message,
            file=self._given[target].path,
            line=problem.line,
            column=1,
            length=max(1, len(line)),
            help=problem.help,
            source=line,
        )


def repeated(every: Sequence[Read]) -> Iterator[tuple[Written, Problem]]:
    """TM521: two lookups of one name."""
    first: dict[str, Read] = {}
    for one in every:
        before = first.setdefault(one.name, one)
        if before is not one:
            message = f"the lookup `{one.name}` is defined already, in {before.written.where}"
            advice = "rename one of the two, or remove it"
            yield (
                one.written,
                Problem(code="TM521", message=message, path=("name",), help=advice),
            )


def names_used(root: Mapping) -> Iterator[str]:
    """The lookups that a definition's attributes name, whatever else is wrong with it."""
    made = get(root, ("source", "attributes"))
    for _, value in made.entries.values() if isinstance(made, Mapping) else ():
        found = get(value, ("lookup",))
        if isinstance(found, Scalar):
            yield found.text


def unused(every: Sequence[Read], used: set[str]) -> Iterator[tuple[Written, Problem]]:
    """TM522: a lookup that no attribute names; asked when every definition was looked at."""
    for one in every:
        if one.written.wanted and not one.written.alone and one.name not in used:
            advice = "remove it, or name it in an attribute: `{from: KEY, lookup: NAME}`"
            message = f"no attribute is looked up in `{one.name}`"
            yield (
                one.written,
                Problem(code="TM522", message=message, path=("name",), help=advice),
            )


def too_large(
    every: Sequence[Read], definitions: Iterable[ResolvedDefinition]
) -> Iterator[tuple[Written, Problem]]:
    """TM411: columns that are too much for one plan together."""
    tables = tables_of(definitions)
    total = sum(table.size for table in tables.values())
    if total <= MOST_BYTES:
        return
    sizes = [(sum(_sizes(one.lookup, tables)), at) for at, one in enumerate(every)]
    size, largest = max(sizes)
    yield (
        every[largest].written,
        Problem(
            code="TM411",
            message=f"the columns that definitions use have {total:,} bytes together, {size:,} of "
            "them here",
            path=("file",),
            help=f"at most {MOST_BYTES:,} are allowed, as every worker is sent them with each "
            "change: keep the rows that streams ask for, and shorter texts",
        ),
    )


def _sizes(lookup: Lookup | None, used: dict[str, Table]) -> Iterator[int]:
    """Of the columns that are used."""
    for name in lookup.header if lookup is not None else ():
        table = lookup.table(name) if lookup is not None else None
        if table is not None and table.digest in used:
            yield table.size
