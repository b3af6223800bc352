"""Where attention heads can be removed: the products which make query, key and value, and the one behind them.

A head is a block of columns of three weights and a block of rows of the fourth. Found from each Softmax outwards; a
graph which is written in another way (one product for all three, computed shapes) has no such region and keeps its
heads. Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv 1905.10650).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.passes.base import all_names, fresh_name
from compression_service.engine.passes.regions import Region, ShapeFix, Slice

SCALED = ("Mul", "Div", "Add", "Where")  # between the product of queries and keys and the Softmax
DEPTH = 4


@dataclass
class _Linear:
    """A product with a constant weight whose output is split into heads by `reshape`."""

    product: NodeProto
    slices: list[Slice]
    outputs: int
    reshape: NodeProto


def attention_regions(model: ModelProto) -> list[Region]:
    """A region for each attention of the main graph of a normalised model; its channels are heads."""
    found = []
    walker = _Walker(model)
    for node in model.graph.node:
        if node.op_type == "Softmax" and node.domain in graph.MAIN_DOMAINS:
            region = walker.around(node)
            if region is not None:
                found.append(region)
    return found


class _Walker:
    """Finds its way through one graph."""

    def __init__(self, model: ModelProto) -> None:
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.uses = graph.names_used(model)
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)

    def around(self, softmax: NodeProto) -> Region | None:
        """The region of one Softmax, None when anything about it is unusual."""
        scores = self._scores(softmax.input[0], DEPTH)
        mixed = self._only(softmax.output[0], "MatMul")
        if scores is None or mixed is None or mixed.input[0] != softmax.output[0]:
            return None
        turned = self._only(mixed.output[0], "Transpose")
        joined = self._only(turned.output[0], "Reshape") if turned is not None else None
        behind = self._only(joined.output[0], "MatMul", "Gemm") if joined is not None else None
        if turned is None or joined is None or behind is None or not self._splits(turned):
            return None
        parts = [self._linear(name) for name in (*scores.input, mixed.input[1])]
        query, key, value = parts
        if query is None or key is None or value is None:
            return None
        width = self._head_width(value.reshape)
        outputs = value.outputs
        if not width or outputs % width or any(one.outputs != outputs for one in (query, key)):
            return None
        heads = outputs // width
        weight = self.constants.get(behind.input[1])
        if (
            weight is None
            or behind.input[0] != joined.output[0]
            or self._inputs(behind, weight) != outputs
            or heads < 2
        ):
            return None
        fixes = [self._split_fix(one.reshape, heads) for one in (query, key, value)]
        fixes.append(self._join_fix(joined, outputs, width))
        if any(fix is None for fix in fixes):
            return None
        slices = [Slice(s.tensor, s.axis, width) for one in (value, query, key) for s in one.slices]
        names = [one.tensor for one in slices]
        if len(set(names)) != len(names) or any(self.uses[name] != 1 for name in [*names, behind.input[1]]):
            return None
        also = [query.product.input[1], key.product.input[1]]
        return Region(
            value.product, heads, False, slices, consumers=[behind], spread=width, least=1, also=also,
            shapes=[fix for fix in fixes if fix is not None and fix.per],
        )  # fmt: skip

    def _only(self, name: str, *kinds: str) -> NodeProto | None:
        found = self.readers.get(name, [])
        return found[0] if len(found) == 1 and self.uses[name] == 1 and found[0].op_type in kinds else None

    def _scores(self, name: str, depth: int) -> NodeProto | None:
        """The product of queries and keys behind scaling and masks."""
        node = self.makers.get(name)
        if node is None or self.uses[name] != 1:
            return None
        if node.op_type == "MatMul":
            return None if any(given in self.constants for given in node.input) else node
        if node.op_type not in SCALED or not depth:
            return None
        found = [one for given in node.input if (one := self._scores(given, depth - 1)) is not None]
        return found[0] if len(found) == 1 else None

    def _linear(self, name: str) -> _Linear | None:
        """The product which makes queries, keys or values: behind Transpose, scaling by a number, Reshape and bias."""
        node = self._behind(name, lambda one: one.op_type == "Transpose" or self._by_a_number(one))
        if node is None or node.op_type != "Reshape":
            return None
        slices: list[Slice] = []
        product = self.makers.get(node.input[0])
        if product is None or self.uses[node.input[0]] != 1:
            return None
        if product.op_type == "Add":
            bias = next((given for given in product.input if given in self.constants), "")
            if not bias or len(self.constants[bias].dims) != 1:
                return None
            slices.append(Slice(bias, 0))
            other = next(given for given in product.input if given != bias)
            product = self.makers.get(other) if self.uses[other] == 1 else None
        weight = self.constants.get(product.input[1]) if product is not None and len(product.input) > 1 else None
        if product is None or weight is None or product.op_type != "MatMul" or len(weight.dims) != 2:
            return None
        if weight.data_type != TensorProto.FLOAT or product.input[0] in self.constants:
            return None
        outputs = int(weight.dims[1])
        if slices and self.constants[slices[0].tensor].dims[0] != outputs:
            return None
        return _Linear(product, [Slice(weight.name, 1), *slices], outputs, node)

    def _behind(self, name: str, passes: Callable[[NodeProto], bool]) -> NodeProto | None:
        for _ in range(DEPTH):
            node = self.makers.get(name)
            if node is None or self.uses[name] != 1:
                return None
            if not passes(node):
                return node
            name = next(given for given in node.input if given not in self.constants)
        return None

    def _by_a_number(self, node: NodeProto) -> bool:
        numbers = [self.constants[given] for given in node.input if given in self.constants]
        return node.op_type in ("Mul", "Div") and len(numbers) == 1 and graph.elements(numbers[0]) == 1

    def _inputs(self, node: NodeProto, weight: TensorProto) -> int:
        if len(weight.dims) != 2 or weight.data_type != TensorProto.FLOAT or graph.attribute(node, "transA", 0):
            return 0
        return int(weight.dims[1 if graph.attribute(node, "transB", 0) else 0])

    def _splits(self, node: NodeProto) -> bool:
        return list(graph.attribute(node, "perm", [])) == [0, 2, 1, 3]

    def _numbers(self, node: NodeProto) -> list[int | None] | None:
        """The entries of a Reshape's shape; None for one which is computed."""
        name = node.input[1]
        if name in self.constants:
            return [int(value) for value in streamed.array(self.constants[name]).reshape(-1)]
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "Concat":
            return None
        entries: list[int | None] = []
        for given in maker.input:
            known = self.constants.get(given)
            if known is not None and graph.elements(known) != 1:
                return None
            entries.append(int(streamed.array(known).reshape(-1)[0]) if known is not None else None)
        return entries

    def _head_width(self, reshape: NodeProto) -> int:
        entries = self._numbers(reshape)
        return entries[3] or 0 if entries and len(entries) == 4 and (entries[3] or 0) > 0 else 0

    def _split_fix(self, reshape: NodeProto, heads: int) -> ShapeFix | None:
        """How [batch, length, heads, width] has to change; `per` 0 where the heads are left to the runtime (-1)."""
        entries = self._numbers(reshape)
        if entries is None or len(entries) != 4 or entries[2] not in (-1, heads):
            return None
        return ShapeFix(reshape, entries, 2, 0 if entries[2] == -1 else 1)

    def _join_fix(self, reshape: NodeProto, outputs: int, width: int) -> ShapeFix | None:
        entries = self._numbers(reshape)
        if entries is None or len(entries) != 3 or entries[2] not in (-1, outputs):
            return None
        return ShapeFix(reshape, entries, 2, 0 if entries[2] == -1 else width)


def fixed(model: ModelProto, fix: ShapeFix, heads: int) -> None:
    """Write a Reshape's shape anew for so many heads; entries which are computed stay so."""
    names = all_names(model)
    shape = fresh_name(names, f"{fix.node.output[0]}_shape")
    maker = next((node for node in model.graph.node if fix.node.input[1] in node.output), None)
    if maker is None:
        entries = [heads * fix.per if place == fix.place else entry for place, entry in enumerate(fix.entries)]
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(entries, np.int64), shape))
    else:
        given, entry = list(maker.input), fresh_name(names, f"{shape}_{fix.place}")
        model.graph.initializer.append(numpy_helper.from_array(np.asarray([heads * fix.per], np.int64), entry))
        given[fix.place] = entry
        position = next(i for i, node in enumerate(model.graph.node) if node.output[:1] == fix.node.output[:1])
        model.graph.node.insert(position, helper.make_node("Concat", given, [shape], axis=0))
    fix.node.input[1] = shape
