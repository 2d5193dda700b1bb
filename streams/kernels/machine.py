"""Single machine operations that NumPy has no word for; for use inside kernels."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from streams.kernels.compile import bounds_checked, intrinsic

# Conversions inside kernels, where np.int64 and np.uint64 are the machine's words and not objects.
i64: Any = np.int64
u64: Any = np.uint64


def _types() -> Any:
    return importlib.import_module("numba.core.types")


def _cgutils() -> Any:
    return importlib.import_module("numba.core.cgutils")


def _ir() -> Any:
    return importlib.import_module("llvmlite.ir")


def _loader(width: int) -> Any:
    """The code that loads ``width`` bits at a byte's index, checked only in checked kernels."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = _ir()
        array = context.make_array(signature.args[0])(context, builder, args[0])
        if bounds_checked():
            length = builder.extract_value(array.shape, 0)
            last = builder.add(args[1], ir.Constant(args[1].type, width // 8 - 1))
            for index in (args[1], last):
                _cgutils().do_boundscheck(context, builder, index, length)
        kind = ir.IntType(width)
        address = builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())
        return builder.zext(builder.load(address, align=1), ir.IntType(64))

    return codegen


@intrinsic
def load_u64(typing_context: Any, buffer: Any, index: Any) -> Any:
    """``load_u64(buffer, index)``: u64 of the 8 bytes at ``index``, little endian, any alignment.

    ``buffer[index : index + 8].view("<u8")[0]``. The caller has checked that they exist; only
    ``NUMBA_BOUNDSCHECK=1`` looks again. No negative index.
    """
    types = _types()
    return types.uint64(buffer, types.int64), _loader(64)


@intrinsic
def byte_at(typing_context: Any, buffer: Any, index: Any) -> Any:
    """``byte_at(buffer, index)``: the byte as i64; on the same terms as ``load_u64``.

    Half the cost of ``buffer[index]``, which serves negative indices as well.
    """
    types = _types()
    return types.int64(buffer, types.int64), _loader(8)


@intrinsic
def high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """``high_product(a, b)``: the upper 64 bits of the product of two u64."""
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


def _bitcast(to: str) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = _ir()
        kind = ir.DoubleType() if to == "double" else ir.IntType(64)
        return builder.bitcast(args[0], kind)

    return codegen


@intrinsic
def double_bits(typing_context: Any, value: Any) -> Any:
    """``double_bits(value)``: the bits of a double as i64, whatever they are."""
    types = _types()
    return types.int64(types.float64), _bitcast("integer")


@intrinsic
def double_of(typing_context: Any, bits: Any) -> Any:
    """``double_of(bits)``: the double with these bits."""
    types = _types()
    return types.float64(types.int64), _bitcast("double")


@intrinsic
def leading_zeros(typing_context: Any, word: Any) -> Any:
    """``leading_zeros(word)``: how many upper bits of a u64 are zero, as i64; 64 for zero."""
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


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
