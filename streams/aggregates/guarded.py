"""Somebody's own aggregate: what goes wrong in it stops the worker, and is no record's fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from streams.aggregates.port import I64, Aggregate, Points
from streams.errors import Fatal, StreamsError

R = TypeVar("R")
_NEXT = "Correct its file and start again; nothing acknowledged is lost"


class FailedAggregate(Fatal):
    """An aggregate raised what it must not. Its numbers are not known, so none is published."""


class Guarded:
    """An aggregate that does as `given`, and fails as `FailedAggregate`.

    Else the record that was being processed would be taken for one that cannot be, and left out.
    """

    def __init__(self, given: Aggregate[Any], spelling: str) -> None:
        self.given = given
        self._spelling = spelling

    @property
    def name(self) -> str:
        return self.given.name

    @property
    def version(self) -> int:
        return self.given.version

    def empty(self, n: int) -> Any:
        return self._does("empty", self.given.empty, n)

    def add(self, state: Any, rows: I64, points: Points) -> None:
        self._does("add", self.given.add, state, rows, points)

    def merge(self, state: Any, rows: I64, other: Any, theirs: I64) -> None:
        self._does("merge", self.given.merge, state, rows, other, theirs)

    def finish(self, state: Any) -> Any:
        """f64[n], which is what definitions publish."""
        found: object = self._does("finish", self.given.finish, state)
        if isinstance(found, np.ndarray):
            values = cast("npt.NDArray[Any]", found)
            if values.dtype == np.float64 and values.ndim == 1:
                return values
        kind = type(cast("object", found)).__qualname__
        raise FailedAggregate(
            f"the aggregate {self._spelling!r} finished as {kind}, not as a double a row", _NEXT
        )

    def encode(self, state: Any) -> bytes:
        return self._does("encode", self.given.encode, state)

    def decode(self, data: bytes) -> Any:
        return self._does("decode", self.given.decode, data)

    def _does(self, what: str, call: Callable[..., R], *given: Any) -> R:
        try:
            return call(*given)
        except StreamsError:
            raise
        except Exception as error:
            raise FailedAggregate(
                f"the aggregate {self._spelling!r} failed in `{what}`: "
                f"{type(error).__name__}: {error}",
                _NEXT,
            ) from error
