"""`bytes` whose content is written, or read, where it stands.

A kernel works on arrays, and what travels is `bytes`. Made of an array it is another copy, in pages
that were never touched (a tenth of the roll-up's time with a million groups); put into one array
with others, to be read, it is one more.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

_WRITABLE = 0x200  # PyBUF_WRITE

_made: Any = ctypes.pythonapi.PyBytes_FromStringAndSize
_made.restype, _made.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
_address: Any = ctypes.pythonapi.PyBytes_AsString
_address.restype, _address.argtypes = ctypes.c_void_p, (ctypes.py_object,)
_view: Any = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


def bytes_to_fill(size: int) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """New bytes with no content yet, and the array u8[size] that is their memory.

    As C code does with `PyBytes_FromStringAndSize(NULL, size)`: whoever calls fills all of it, and
    lets go of the array, before anybody else sees the bytes. The array does not keep them alive.
    """
    if not size:
        return b"", np.empty(0, np.uint8)
    made: bytes = _made(None, size)
    return made, np.frombuffer(_view(_address(made), size, _WRITABLE), np.uint8)


def address_of(content: bytes) -> int:
    """Where the first byte is, for `streams.kernels.machine.bytes_at`; as long as it lives."""
    return _address(content)
