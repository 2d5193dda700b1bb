"""Topologies of users' own, in the streams framework: found by file or module, and planned."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from streams.schema import TopologyError
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan

_NAME = "topology"


class NoTopology(ValueError):
    """There is no topology; the message says where, why, and what to do."""


def load(where: str) -> Plan:
    """The plan at `file.py`, `package.module`, or either with `:name` (otherwise `topology`).

    What it names is a `Plan`, a `StreamsBuilder`, or a function without arguments that returns one.

    Raises:
        NoTopology: There is none, or it cannot be planned.
    """
    place, _, name = where.partition(":")
    module = _module(place)
    found = getattr(module, name or _NAME, None)
    if found is None:
        raise NoTopology(
            f"{place} has no `{name or _NAME}`: name what returns the plan, as in {place}:NAME"
        )
    try:
        made = found() if callable(found) else found
        plan = made.build() if isinstance(made, StreamsBuilder) else made
    except TopologyError as error:
        raise NoTopology(f"{where}: {error}") from error
    except Exception as error:
        raise NoTopology(_failure(where, error)) from error
    if not isinstance(plan, Plan):
        raise NoTopology(
            f"{where} gives {type(plan).__name__}: let it return `builder.build()`, a plan"
        )
    return plan


def _module(place: str) -> ModuleType:
    """The module of a file, or of a name that Python finds from here."""
    try:
        if not place.endswith(".py"):
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(place)
        file = Path(place)
        if not file.is_file():
            raise NoTopology(f"{place}: there is no such file")
        sys.path.insert(0, str(file.parent.resolve()))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except NoTopology:
        raise
    except ModuleNotFoundError as error:
        raise NoTopology(
            f"{place}: {error}; name a file.py, or a module found from here"
        ) from error
    except TopologyError as error:
        raise NoTopology(f"{place}: {error}") from error
    except Exception as error:
        raise NoTopology(_failure(place, error)) from error


def _failure(where: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where}: {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
