"""Where a graph spells out GELU by tanh, in whichever order of its factors.

Source: Hendrycks and Gimpel 2016 (arXiv 1606.08415).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compression_service.engine.passes.patterns import Pattern

TANH_SCALE, CUBE_SCALE = (2 / np.pi) ** 0.5, 0.044715
CLOSE = 1e-3  # relative; exporters round the two numbers of GELU
MOST_PRODUCTS = 3  # behind the bracket: by x, by 1/2, or by both


def gelus(pattern: Pattern) -> Iterator[tuple[str, str]]:
    """(x, the value which is x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))))."""
    for node in pattern.scope.graph.node:
        if pattern.maker(node.output[0], "Tanh") is None:
            continue
        x = next(
            (one for one in _above(node.input[0], pattern) if _is_gelu_argument(node.input[0], one, pattern)), None
        )
        brackets = [one.output[0] for one in pattern.readers(node.output[0]) if pattern.sum_with_one(one.output[0])]
        if x is None or len(brackets) != 1:
            continue
        wanted = sorted([x, brackets[0]])
        for root in _products_of(brackets[0], pattern):
            half, others = pattern.factors(root, (x, brackets[0]))
            if others == wanted and np.isclose(half, 0.5, rtol=CLOSE):
                yield x, root
                break


def _above(name: str, pattern: Pattern, levels: int = 4) -> list[str]:
    """The values which make this one through sums and products, nearest first."""
    found, level = [name], [name]
    for _ in range(levels):
        makers = (pattern.maker(one, "Mul", "Add", "Pow", "Div") for one in level)
        level = [one for node in makers if node is not None for one in node.input if pattern.number(one) is None]
        found += level
    return list(dict.fromkeys(found))


def _products_of(name: str, pattern: Pattern) -> list[str]:
    """The values which are products of this one, the nearest first."""
    found, level = [], [name]
    for _ in range(MOST_PRODUCTS):
        level = [node.output[0] for one in level for node in pattern.readers(one) if node.op_type in ("Mul", "Div")]
        found += level
    return found


def _is_gelu_argument(name: str, x: str, pattern: Pattern) -> bool:
    scale, others = pattern.factors(name, (x,))
    if not np.isclose(scale, TANH_SCALE, rtol=CLOSE):
        return False
    if len(others) == 2 and x in others:  # x · (1 + 0.044715 x²)
        rest = pattern.sum_with_one(others[1 - others.index(x)])
        return rest is not None and _is_power(rest, x, 2, pattern)
    node = pattern.maker(others[0], "Add") if len(others) == 1 else None
    return node is not None and any(
        one == x and _is_power(other, x, 3, pattern) for one, other in (node.input, tuple(reversed(node.input)))
    )


def _is_power(name: str, x: str, exponent: int, pattern: Pattern) -> bool:
    scale, others = pattern.factors(name, (x,))
    return others == [x] * exponent and bool(np.isclose(scale, CUBE_SCALE, rtol=CLOSE))
