"""Typed expressions over columns: `col`, `lit`, `when`. What they mean is said in `terms`."""

from streams.expressions.terms import Cases, Expr, col, holds, lit, when

__all__ = ["Cases", "Expr", "col", "holds", "lit", "when"]
