"""The one decorator through which every compiled loop of the project is made.

    from streams.kernels.compile import kernel

    @kernel("void(i64[::1], f64[::1], f64[::1])")
    def add_by_slot(slot, value, total): ...

- The signature is explicit and in **bits**: ``i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 bool_ void``,
  ``UniTuple(i64, 2)``, ``Tuple((i64, u64))``; arrays as ``u8[::1]`` (one dimension, contiguous) or
  ``f64[:, ::1]``; ``text`` is a ``u8[::1]`` that may be read-only. A call with other types is a
  ``TypeError``, never another specialisation.
- No GIL, no fastmath, no parallel; integers wrap, a division by zero gives what NumPy gives.
- Nothing is compiled on import: a kernel is compiled, or loaded from the cache, at its first call,
  at the first call of a kernel that calls it, or by :func:`warm`.
- A kernel may call other kernels; ``forceinline=True`` inlines it there (small helpers).
- ``allocates=False`` is for kernels that make no array (views are fine): nothing is counted around
  their calls, which made the scan of OTLP points 3 times as fast. Then their callees say so too.

The cache is a directory of pickles, hence private (0700, or not writable for anybody else). Its
entries are named by a digest of the kernel's bytecode, its signature, the constants and kernels it
refers to, the compiler's version and the processor, so a stale entry is never loaded and a moved
installation still hits. An entry that cannot be read is removed and compiled again; a directory
that cannot be written is only read.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import platform
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

_BITS = {
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "f32": "float32",
    "f64": "float64",
    "bool_": "boolean",
    "void": "void",
    "UniTuple": "UniTuple",
    "Tuple": "Tuple",
}
TEXT = "text"
"""In signatures: bytes that are only read, a view of a `bytes` object as well as any `u8[::1]`."""
_CHECKSUM = 16

_registry: list[Kernel] = []
_chosen: Path | None = None


def _numba(module: str = "") -> Any:
    """The compiler, imported when the first kernel is needed (1.4 s)."""
    return importlib.import_module(f"numba{module}")


class Kernel:
    """A compiled function; made by :func:`kernel` only."""

    def __init__(
        self, function: Callable[..., Any], signature: str, forceinline: bool, allocates: bool
    ) -> None:
        self.py_func = function
        self.signature = signature
        self.forceinline = forceinline
        self.allocates = allocates
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.loaded = False  # whether compiling it meant loading it from the cache
        self._call: Callable[..., Any] | None = None
        self._dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        call = self._call
        if call is None:
            call = self.compile()
        return call(*args)

    @property
    def compiled(self) -> bool:
        """Whether it has been called, or was compiled for another one."""
        return self._call is not None

    @property
    def _numba_type_(self) -> Any:
        """What numba takes this object for inside another kernel."""
        self.compile()
        return _numba(".core.types").Dispatcher(self._dispatcher)

    def compile(self) -> Callable[..., Any]:
        """Load or compile; idempotent, safe from several threads."""
        with _numba(".core.compiler_lock").global_compiler_lock:
            if self._call is not None:
                return self._call
            dispatcher = _numba().njit(
                nogil=True,
                forceinline=self.forceinline,
                error_model="numpy",
                _nrt=self.allocates,
            )(self.py_func)
            cache = _DiskCache(self, cache_directory())
            dispatcher._cache = cache
            dispatcher.compile(self._types())
            dispatcher.disable_compile()
            self.loaded = cache.hit
            self._dispatcher = dispatcher
            self._call = dispatcher
            return dispatcher

    def digest(self) -> bytes:
        """16 bytes over everything that the machine code is made from, called kernels included."""
        return _digest(self.py_func, f"{self.signature} {self.forceinline} {self.allocates}")

    def _types(self) -> Any:
        types = _numba(".core.types")
        names = {ours: getattr(types, theirs) for ours, theirs in _BITS.items()}
        names[TEXT] = types.Array(types.uint8, 1, "C", readonly=True)
        try:
            return eval(self.signature, {"__builtins__": {}}, names)
        except NameError as error:
            raise ValueError(
                f"kernel {self.name}: {error} in its signature {self.signature!r}; "
                f"types are given in bits: {', '.join(_BITS)}"
            ) from None


class Intrinsic:
    """A single machine operation, for use inside kernels; made by :func:`intrinsic` only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.__doc__ = function.__doc__
        self._made: Any = None

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.name} exists inside kernels only")

    @property
    def _numba_type_(self) -> Any:
        if self._made is None:
            self._made = _numba(".extending").intrinsic(self.py_func)
        context = _numba(".core.registry").cpu_target.typing_context
        context.refresh()
        return context.resolve_value_type(self._made)

    def digest(self) -> bytes:
        return _digest(self.py_func, "intrinsic")


def kernel(
    signature: str, *, forceinline: bool = False, allocates: bool = True
) -> Callable[[F], F]:
    """Make a function a kernel with this signature (see the module's text)."""

    def decorate(function: F) -> F:
        made = Kernel(function, signature, forceinline, allocates)
        _registry.append(made)
        return cast(F, made)

    return decorate


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make ``function(typing_context, *types) -> (signature, codegen)`` an operation of kernels."""
    return Intrinsic(function)


def bounds_checked() -> bool:
    """Whether kernels are compiled with every array index checked (``NUMBA_BOUNDSCHECK=1``)."""
    return bool(_numba(".core.config").BOUNDSCHECK)


def registered() -> list[Kernel]:
    """The kernels of the modules imported so far."""
    return list(_registry)


def warm(progress: Callable[[int, int, str], None] = lambda done, total, name: None) -> int:
    """Compile (or load) every kernel of the modules imported so far; returns their number.

    ``progress(done, total, name)`` is called before each one and once, with an empty name, at the
    end.
    """
    kernels = registered()
    for done, each in enumerate(kernels):
        progress(done, len(kernels), each.name)
        each.compile()
    progress(len(kernels), len(kernels), "")
    return len(kernels)


def load_cached(go_on: Callable[[], bool] = lambda: True) -> int:
    """Load what the cache holds of the kernels imported so far, compiling none itself.

    Returns their number. Stops between two when `go_on` says so.
    """
    codegen = _numba(".core.registry").cpu_target.target_context.codegen()
    found = 0
    for each in _registry.copy():
        if not go_on():
            break
        if _DiskCache(each, cache_directory()).path(codegen).exists():
            each.compile()
            found += 1
    return found


def configure(cache_dir: Path | None) -> None:
    """Choose the cache's directory for kernels not compiled yet; ``None`` for the default.

    It is made with mode 0700 if missing. A directory that others may write to is refused with a
    ``PermissionError``, since its entries are code. One that is read-only is used as it is.
    """
    global _chosen
    if cache_dir is not None:
        _private(cache_dir, writable=False)
    _chosen = cache_dir


def cache_directory() -> Path:
    """The directory in use: the configured one, the user's cache, or one in the temporary folder.

    Code with index checks has a sub-directory of its own.
    """
    base = _chosen or _default_directory()
    return base / "checked" if bounds_checked() else base


def _default_directory() -> Path:
    shared_name = f"tidemill-kernels-{os.getuid()}"
    for candidate in (
        Path("~/.cache/tidemill/kernels").expanduser(),
        Path(tempfile.gettempdir()) / shared_name,
    ):
        try:
            _private(candidate, writable=True)
        except OSError:
            continue
        return candidate
    return Path(tempfile.mkdtemp(prefix="tidemill-kernels-"))


def _private(directory: Path, *, writable: bool) -> None:
    """Make the directory if missing, and refuse one in which others could plant code."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.getuid(), 0):
        raise PermissionError(f"{directory} is not a directory of this user: choose another one")
    if found.st_mode & 0o022:
        raise PermissionError(
            f"{directory} can be written by other users, who could plant code there: "
            f"run `chmod 700 {directory}` or choose another one"
        )
    if writable and not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{directory} cannot be written")


class _DiskCache:
    """One file an entry; what numba's dispatcher asks of its cache."""

    def __init__(self, kernel: Kernel, directory: Path) -> None:
        self._kernel = kernel
        self._directory = directory
        self.hit = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self.path(target_context.codegen())
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            if _checksum(content[_CHECKSUM:]) != content[:_CHECKSUM]:
                raise ValueError("checksum")
            payload = pickle.loads(content[_CHECKSUM:])
            found = _numba(".core.compiler").CompileResult._rebuild(target_context, *payload)
        except Exception:
            # Whatever a damaged entry raises, the answer is the same: compile it again.
            _remove(path)
            return None
        self.hit = True
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        if data.library.has_dynamic_globals or data.lifted:
            raise RuntimeError(f"kernel {self._kernel.name} cannot be cached: it uses live objects")
        payload = _numba(".core.serialize").dumps(data._reduce())
        path = self.path(data.codegen)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._directory)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_checksum(payload) + payload)
                Path(temporary).replace(path)
            except OSError:
                _remove(Path(temporary))
        except OSError:
            return  # read-only or full: the kernel runs, the next process compiles it again

    def path(self, codegen: Any) -> Path:
        made_by = (
            _numba().__version__,
            importlib.import_module("llvmlite").__version__,
            platform.python_version(),
            codegen.magic_tuple(),
        )
        key = hashlib.blake2b(self._kernel.digest(), digest_size=16)
        key.update(repr(made_by).encode())
        return self._directory / f"{self._kernel.name}-{key.hexdigest()}.kernel"

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def flush(self) -> None: ...


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECKSUM).digest()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _digest(function: Callable[..., Any], options: str) -> bytes:
    digest = hashlib.blake2b(options.encode(), digest_size=16)
    code: CodeType = function.__code__
    cells: tuple[Any, ...] = getattr(function, "__closure__", None) or ()
    for cell in cells:
        digest.update(_describe(cell.cell_contents, set()))
    digest.update(_describe_code(code, getattr(function, "__globals__", {})))
    return digest.digest()


def _describe_code(code: CodeType, globals_: dict[str, Any]) -> bytes:
    parts = [code.co_code, repr((code.co_names, code.co_varnames)).encode()]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts.append(_describe_code(constant, globals_))
        else:
            parts.append(repr(constant).encode())
    names = set(code.co_names)
    for name in sorted(names & globals_.keys()):
        parts.append(name.encode())
        parts.append(_describe(globals_[name], names))
    return b"\0".join(parts)


def _describe(value: Any, names: set[str]) -> bytes:
    """What a kernel's machine code takes from a value it refers to."""
    if isinstance(value, Kernel | Intrinsic):
        return value.digest()
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return array.dtype.str.encode() + repr(array.shape).encode() + array.tobytes()
    if isinstance(value, bool | int | float | str | bytes | np.generic):
        return repr(cast(object, value)).encode()
    if isinstance(value, tuple):
        return b",".join(_describe(each, names) for each in cast("tuple[Any, ...]", value))
    if isinstance(value, ModuleType):
        used = sorted(name for name in names if hasattr(value, name))
        described = [(name, _describe(getattr(value, name), set())) for name in used]
        return repr((value.__name__, described)).encode()
    return getattr(value, "__qualname__", type(value).__qualname__).encode()
