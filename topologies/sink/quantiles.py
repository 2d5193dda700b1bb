"""Quantiles of stored histograms as SQL: to the bit what `streams.aggregates` makes of them.

Each is made step by step: what one names, the next ones have as a column. Rows keep their columns
by the names of the table (`histograms.py`). Only numbers are named by lambdas (`_let`): these copy
what they see, and a row's buckets would be copied a dozen times.
"""

from __future__ import annotations

import math

NUMBER = "number"
"""What the last step names."""
Steps = tuple[tuple[tuple[str, str], ...], ...]
"""Step by step, columns with the expressions that make them of those before."""
_STEPS = 20
"""An octave is cut in 2**20 steps, as `streams.kernels.powers` has it."""
_FRACTION = 127
"""Bits behind the point of the numbers that bounds are multiplied from."""


def explicit_quantile(q: float) -> Steps:
    """As `streams.aggregates.explicit.ExplicitHistograms.quantile`."""
    return (
        (("rank", f"{_double(q)} * toFloat64(count)"), ("sums", "arrayCumSum(bucket_counts)")),
        (("place", _first_at("sums")),),
        (
            ("before", "toFloat64(sums[place] - bucket_counts[place])"),
            ("amount", "toFloat64(bucket_counts[place])"),
            ("above", "if(place <= length(explicit_bounds), explicit_bounds[place], max)"),
            ("below", "if(place > 1, explicit_bounds[place - 1], min)"),
        ),
        ((NUMBER, _let(
            ("upper", "above"),
            ("lower", "below"),
            ("low", "if(isNaN(lower), if(upper < 0, upper, 0.), lower)"),
            ("high", "if(isNaN(upper), low, upper)"),
            ("part", "(rank - before) / amount"),
            ("found", "if(part < 1, low + part * (high - low), high)"),
            body=f"if(place = 0, nan, {_within('found')})",
        )),),
    )  # fmt: skip


def exponential_quantile(q: float) -> Steps:
    """As `streams.aggregates.exponential.ExponentialHistograms.quantile`."""
    below_zero, above = "negative_bucket_counts", "positive_bucket_counts"
    return (
        (
            ("rank", f"{_double(q)} * toFloat64(count)"),
            ("every", f"arrayConcat(arrayReverse({below_zero}), [zero_count], {above})"),
        ),
        (("sums", "arrayCumSum(every)"),),
        (("place", _first_at("sums")),),
        (
            ("before", "toFloat64(sums[place] - every[place])"),
            ("amount", "toFloat64(every[place])"),
            ("zero_at", f"toInt64(length({below_zero})) + 1"),
            ("has_positive", f"arraySum({above}) > 0"),
            ("has_negative", f"arraySum({below_zero}) > 0"),
        ),
        ((NUMBER, _let(
            ("at", "toInt64(place)"),
            ("middle", "zero_at"),
            ("part", "(rank - before) / amount"),
            ("negative", "at < middle"),
            ("index", "if(negative, toInt64(negative_offset) + middle - 1 - at, "
                      "toInt64(positive_offset) + at - middle - 1)"),
            ("width", f"bitShiftLeft(toInt64(1), toUInt8({_STEPS} - scale))"),
            ("inside", "toInt64(trunc(part * toFloat64(width) + 0.5))"),
            ("step", "index * width + if(negative, width - inside, inside)"),
            ("bound", _bound("step")),
            ("least", "if(has_negative, -zero_threshold, 0.)"),
            ("most", "if(has_positive OR least = 0, zero_threshold, 0.)"),
            ("found", "multiIf(negative, -bound, at = middle, least + part * (most - least), "
                      "bound)"),
            body=f"if(at = 0, nan, {_within('found')})",
        )),),
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
    product = "one"
    for k, root in enumerate(roots()):
        times = f"if(bitTest(fraction, {k}), toUInt256('{root}'), one)"
        product = f"bitShiftRight({product} * {times}, {_FRACTION})"
    return _let(
        ("fraction", f"toUInt64(bitAnd({step}, {(1 << _STEPS) - 1}))"),
        ("exponent", f"intDiv({step} - toInt64(fraction), {1 << _STEPS})"),
        ("one", f"bitShiftLeft(toUInt256(1), {_FRACTION})"),
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


def _first_at(sums: str) -> str:
    """The place of the first bucket that is not empty and reaches the rank; 0: there is none.

    With a rank of 0 that is the first one that is not empty.
    """
    return f"arrayFirstIndex(s -> toFloat64(s) >= greatest(rank, 0.5), {sums})"


def _within(value: str) -> str:
    """Never outside of minimum and maximum; those that are not known are NaN."""
    return f"multiIf({value} > max, max, {value} < min, min, {value})"


def _let(*named: tuple[str, str], body: str) -> str:
    """An expression in which names stand for others: each is computed once, and written once."""
    made = body
    for name, expression in reversed(named):
        made = f"arrayMap({name} -> {made}, [{expression}])[1]"
    return made


def _double(number: float) -> str:
    return f"toFloat64({number!r})"
