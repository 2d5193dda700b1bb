"""Single machine operations that NumPy has no word for; for use inside kernels."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.kernels.compile import intrinsic, kernel

# Conversions inside kernels, where np.int64 and np.uint64 are the machine's words and not objects.
i64: Any = np.int64
u64: Any = np.uint64


def _types() -> Any:
    return importlib.import_module("numba.core.types")


def _cgutils() -> Any:
    return importlib.import_module("numba.core.cgutils")


def _ir() -> Any:
    return importlib.import_module("llvmlite.ir")


@intrinsic
def _load(typing_context: Any, array: Any, index: Any) -> Any:
    """The 8 bytes at an index, little endian, aligned or not; nothing is checked."""
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        word = ir.IntType(64)
        address = builder.bitcast(builder.gep(data, [args[1]]), word.as_pointer())
        return builder.load(address, align=1)

    return types.uint64(array, types.int64), codegen


@intrinsic
def high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """``high_product(a, b)``: the upper 64 bits of the product of two u64."""
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """``prefetch(array, row)``: ask for the cache line of a row; any row is allowed."""
    types, ir, cgutils = _types(), _ir(), _cgutils()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, args[0])
        stride = builder.extract_value(made.strides, 0)
        byte = ir.IntType(8).as_pointer()
        address = builder.gep(builder.bitcast(made.data, byte), [builder.mul(args[1], stride)])
        flag = ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        hints = [ir.Constant(flag, 0), ir.Constant(flag, 3), ir.Constant(flag, 1)]
        builder.call(function, [address, *hints])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@kernel("u64(u8[::1], i64)", forceinline=True)
def load_u64(buffer: NDArray[np.uint8], index: int) -> np.uint64:
    """The 8 bytes at ``index``, little endian; raises nothing and reads nothing outside.

    Equals ``buffer[index : index + 8].view("<u8")[0]``, or 0 where those do not exist.
    """
    if index < 0 or index + 8 > buffer.shape[0]:
        return np.uint64(0)
    return _load(buffer, index)
