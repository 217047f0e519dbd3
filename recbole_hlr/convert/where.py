"""Which rows are kept: `behavior == 'buy' and price > 10`, computed by pyarrow on whole columns.

Python's own parser takes the expression apart, and nothing is run: only the nodes below have a meaning.
By hand, for pandas' `query` and numexpr run what they are given, and simpleeval asks row by row, a million
of them in seconds where this takes hundredths.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import numbers, with_point
from recbole_hlr.errors import InputError, invalid

COMPARED = {ast.Eq: pc.equal, ast.NotEq: pc.not_equal, ast.Lt: pc.less, ast.LtE: pc.less_equal,
            ast.Gt: pc.greater, ast.GtE: pc.greater_equal}  # fmt: skip
ALLOWED = "a condition such as `behavior == 'buy' and price > 10`, of columns, texts and numbers, with " \
          "== != < <= > >= in, not in, and, or, not"  # fmt: skip
Value: TypeAlias = pa.Array | str | float


class Where:
    """A condition on columns; a name that is no Python name stands between backquotes."""

    def __init__(self, text: str, decimal: str | None = None) -> None:
        self.text, self.decimal = text, decimal
        self.quoted: dict[str, str] = {}
        plain = re.sub(r"`([^`]+)`", lambda found: self._alias(found[1]), text)
        try:
            self.tree = ast.parse(plain.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._wrong() from None
        found = [node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)]
        self.columns = list(dict.fromkeys(self.quoted.get(name, name) for name in found))
        if not self.columns:
            raise self._wrong()

    def of(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Return for which rows it holds, of `columns` by name; `InputError` where it is no condition."""
        try:
            return pc.fill_null(self._truth(self.tree, columns), False)
        except RecursionError:
            raise self._wrong() from None

    def _truth(self, node: ast.expr, columns: Mapping[str, pa.Array]) -> pa.Array:
        if isinstance(node, ast.BoolOp):
            join = pc.and_ if isinstance(node.op, ast.And) else pc.or_
            return functools.reduce(join, (self._truth(one, columns) for one in node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self._truth(node.operand, columns))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return functools.reduce(pc.and_, (self._compared(*pair, columns) for pair in pairs))
        raise self._wrong()

    def _compared(
        self, left: ast.expr, op: ast.cmpop, right: ast.expr, columns: Mapping[str, pa.Array]
    ) -> pa.Array:
        one = self._value(left, columns)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
            parts = [self._equal(pc.equal, one, self._value(item, columns)) for item in right.elts]
            found = functools.reduce(pc.or_, parts) if parts else pc.not_equal(one, one)
            return found if isinstance(op, ast.In) else pc.invert(found)
        if type(op) not in COMPARED:
            raise self._wrong()
        return self._equal(COMPARED[type(op)], one, self._value(right, columns))

    def _equal(self, compare: Callable[..., Any], one: Value, other: Value) -> pa.Array:
        """Compare as numbers with a number, and columns by their order; else as texts."""
        sides = (one, other)
        if not any(isinstance(side, pa.Array) for side in sides):
            raise self._wrong()
        ordered = compare not in (pc.equal, pc.not_equal) and all(
            isinstance(side, pa.Array) for side in sides
        )
        if ordered or any(isinstance(side, int | float) for side in sides):
            if any(isinstance(side, str) for side in sides):
                raise self._wrong()
            one, other = (self._number(side) for side in sides)
        return compare(one, other)

    def _number(self, side: Value) -> pa.Array | float:
        return (
            pa.array(numbers(with_point(side, self.decimal))) if isinstance(side, pa.Array) else float(side)
        )

    def _value(self, node: ast.expr, columns: Mapping[str, pa.Array]) -> Value:
        if isinstance(node, ast.Name):
            return columns[self.quoted.get(node.id, node.id)]
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise self._wrong() from None
        if type(value) not in (str, int, float):
            raise self._wrong()
        return value

    def _alias(self, name: str) -> str:
        alias = f"_column_{len(self.quoted)}_"
        self.quoted[alias] = name
        return alias

    def _wrong(self) -> InputError:
        return invalid("where", self.text, "", ALLOWED)
