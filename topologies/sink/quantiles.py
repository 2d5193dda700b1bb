"""Quantiles of stored histograms as SQL: to the bit what `streams.aggregates` makes of them.

Columns are those of a row `r` of the table.
"""

from __future__ import annotations

import math

_STEPS = 20
"""An octave is cut in 2**20 steps, as `streams.kernels.powers` has it."""
_FRACTION = 127
"""Bits behind the point of the numbers that bounds are multiplied from."""


def explicit_quantile(q: float) -> str:
    """As `streams.aggregates.explicit.ExplicitHistograms.quantile`."""
    rank = f"({_double(q)} * toFloat64(r.count))"
    sums = "arrayCumSum(r.bucket_counts)"
    at = f"arrayFirstIndex((n, s) -> n > 0 AND toFloat64(s) >= {rank}, r.bucket_counts, {sums})"
    high = "if(at <= length(r.explicit_bounds), r.explicit_bounds[at], r.max)"
    return _let(
        ("at", at),
        ("count", "r.bucket_counts[at]"),
        ("below", "toFloat64(arraySum(arraySlice(r.bucket_counts, 1, at - 1)))"),
        ("said", "if(at > 1, r.explicit_bounds[at - 1], r.min)"),
        ("low", f"if(isNaN(said), if({high} < 0, {high}, 0.), said)"),
        ("high", f"if(isNaN({high}), low, {high})"),
        ("part", f"({rank} - below) / toFloat64(count)"),
        ("value", "if(part < 1, low + part * (high - low), high)"),
        body=f"if(at = 0, nan, {_within('value')})",
    )


def exponential_quantile(q: float) -> str:
    """As `streams.aggregates.exponential.ExponentialHistograms.quantile`."""
    rank = f"({_double(q)} * toFloat64(r.count))"
    below_zero, above = "r.negative_bucket_counts", "r.positive_bucket_counts"
    has_positive = f"arrayExists(n -> n > 0, {above})"
    has_negative = f"arrayExists(n -> n > 0, {below_zero})"
    return _let(
        ("every", f"arrayConcat(arrayReverse({below_zero}), [r.zero_count], {above})"),
        ("at", f"arrayFirstIndex((n, s) -> n > 0 AND toFloat64(s) >= {rank}, every, "
               "arrayCumSum(every))"),
        ("below", "toFloat64(arraySum(arraySlice(every, 1, at - 1)))"),
        ("part", f"({rank} - below) / toFloat64(every[at])"),
        ("middle", f"toInt64(length({below_zero})) + 1"),
        ("negative", "toInt64(at) < middle"),
        ("index", "if(negative, toInt64(r.negative_offset) + middle - 1 - toInt64(at), "
                  "toInt64(r.positive_offset) + toInt64(at) - middle - 1)"),
        ("width", f"bitShiftLeft(toInt64(1), toUInt8({_STEPS} - r.scale))"),
        ("inside", "toInt64(trunc(part * toFloat64(width) + 0.5))"),
        ("step", "index * width + if(negative, width - inside, inside)"),
        ("bound", _bound("step")),
        ("least", f"if({has_negative}, -r.zero_threshold, 0.)"),
        ("most", f"if({has_positive} OR least = 0, r.zero_threshold, 0.)"),
        ("value", "multiIf(negative, -bound, toInt64(at) = middle, least + part * (most - least), "
                  "bound)"),
        body=f"if(at = 0, nan, {_within('value')})",
    )  # fmt: skip


def roots() -> list[int]:
    """2**(2**(k - 20)) for k from 0 to 19, as integer numbers of 2**-127, rounded down."""
    guard = 128
    root = 2 << (2 * (_FRACTION + guard))
    found: list[int] = []
    for _ in range(_STEPS):
        root = math.isqrt(root) << (_FRACTION + guard)
        found.append(root >> (_FRACTION + 2 * guard))
    return found[::-1]


def _bound(step: str) -> str:
    """The greatest double up to 2**(step / 2**20), as `streams.kernels.powers.bound_at` has it.

    The significand is the product of a root for each bit of the step, by integers alone.
    """
    powers = ", ".join(f"toUInt256('{root}')" for root in roots())
    product = (
        f"arrayFold((made, k, root) -> if(bitTest(fraction, k), "
        f"bitShiftRight(made * root, {_FRACTION}), made), range({_STEPS}), [{powers}], "
        f"bitShiftLeft(toUInt256(1), {_FRACTION}))"
    )
    return _let(
        ("fraction", f"toUInt64(bitAnd({step}, {(1 << _STEPS) - 1}))"),
        ("exponent", f"intDiv({step} - toInt64(fraction), {1 << _STEPS})"),
        ("significand", f"toUInt64(bitShiftRight({product}, {_FRACTION - 52}))"),
        ("dropped", "toUInt64(greatest(0, least(63, -1022 - exponent)))"),
        (
            "bits",
            "if(exponent < -1022, bitShiftRight(significand, dropped), "
            "bitOr(bitShiftLeft(toUInt64(exponent + 1023), 52), "
            f"bitAnd(significand, {(1 << 52) - 1})))",
        ),
        body="if(exponent >= 1024, 1.7976931348623157e308, reinterpretAsFloat64(bits))",
    )


def _within(value: str) -> str:
    """Never outside of minimum and maximum; those that are not known are NaN."""
    return f"multiIf({value} > r.max, r.max, {value} < r.min, r.min, {value})"


def _let(*named: tuple[str, str], body: str) -> str:
    """An expression in which names stand for others: each is computed once."""
    made = body
    for name, expression in reversed(named):
        made = f"arrayMap({name} -> {made}, [{expression}])[1]"
    return made


def _double(number: float) -> str:
    return f"toFloat64({number!r})"
