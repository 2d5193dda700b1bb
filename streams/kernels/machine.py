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


def _address(
    context: Any, builder: Any, kind: Any, array: Any, first: Any, width: int, count: Any = None
) -> Any:
    """Where ``width`` (or ``count``) bytes of a byte array begin, checked in checked kernels."""
    made = context.make_array(kind)(context, builder, array)
    if bounds_checked():
        size = _ir().Constant(first.type, width) if count is None else count
        last = builder.sub(builder.add(first, size), _ir().Constant(first.type, 1))
        for index in (first, last):
            length = builder.extract_value(made.shape, 0)
            _cgutils().do_boundscheck(context, builder, index, length)
    return builder.gep(made.data, [first])


@intrinsic
def bytes_at(typing_context: Any, address: Any, size: Any) -> Any:
    """``bytes_at(address, size)``: u8[size], the memory that begins there; nothing is copied.

    Whoever gives the address keeps what lies there alive and unchanged meanwhile; see
    :func:`streams.buffers.address_of`.
    """
    types, ir = _types(), _ir()
    kind = types.Array(types.uint8, 1, "C")
    populate: Any = importlib.import_module("numba.np.arrayobj").populate_array

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_array(kind)(context, builder)
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        one = ir.Constant(args[1].type, 1)
        populate(made, pointer, [args[1]], [one], one, None)
        return made._getvalue()  # pyright: ignore[reportPrivateUsage]

    return kind(types.int64, types.int64), codegen


def _loader(width: int) -> Any:
    """The code that loads ``width`` bits at a byte's index, checked only in checked kernels."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _ir().IntType(width)
        address = _address(context, builder, signature.args[0], args[0], args[1], width // 8)
        loaded = builder.load(builder.bitcast(address, kind.as_pointer()), align=1)
        return builder.zext(loaded, _ir().IntType(64))

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
def store_u64(typing_context: Any, buffer: Any, index: Any, word: Any) -> Any:
    """``store_u64(buffer, index, word)``: 8 bytes, little endian; on the terms of ``load_u64``."""
    types = _types()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _ir().IntType(64)
        address = _address(context, builder, signature.args[0], args[0], args[1], 8)
        builder.store(args[2], builder.bitcast(address, kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(buffer, types.int64, types.int64), codegen


@intrinsic
def copy_bytes(typing_context: Any, out: Any, to: Any, buffer: Any, first: Any, count: Any) -> Any:
    """``copy_bytes(out, to, buffer, first, count)``: out[to : to + count] = buffer[first : ...].

    On the terms of ``load_u64``; the two may not overlap.
    """
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        with builder.if_then(builder.icmp_signed(">", args[4], ir.Constant(args[4].type, 0))):
            target = _address(context, builder, kinds[0], args[0], args[1], 1, args[4])
            source = _address(context, builder, kinds[2], args[2], args[3], 1, args[4])
            _cgutils().raw_memcpy(builder, target, source, args[4], 1)
        return context.get_dummy_value()

    return types.void(out, types.int64, buffer, types.int64, types.int64), codegen


@intrinsic
def same_bytes(
    typing_context: Any, buffer: Any, first: Any, other: Any, at: Any, count: Any
) -> Any:
    """``same_bytes(buffer, first, other, at, count)``: whether these are the same bytes.

    ``buffer[first : first + count] == other[at : at + count]``, by ``memcmp``; on the terms of
    ``load_u64``. The count is one at least.
    """
    types, ir = _types(), _ir()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        ours = _address(context, builder, kinds[0], args[0], args[1], 1, args[4])
        theirs = _address(context, builder, kinds[2], args[2], args[3], 1, args[4])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function_type = ir.FunctionType(number, [byte, byte, args[4].type])
        function = _cgutils().get_or_insert_function(builder.module, function_type, "memcmp")
        return builder.icmp_signed(
            "==", builder.call(function, [ours, theirs, args[4]]), ir.Constant(number, 0)
        )

    return types.boolean(buffer, types.int64, other, types.int64, types.int64), codegen


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
def multiply_high(typing_context: Any, left: Any, right: Any) -> Any:
    """``multiply_high(a, b)``: the upper 64 of the 128 bits of a product of two u64."""
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
