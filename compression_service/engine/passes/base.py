"""What every pass shares: its shape, the weights that it may touch, and the questions asked of all models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression_service.engine import graph, memo
from compression_service.engine.calibration import activations
from compression_service.engine.calibration.augment import Growing
from compression_service.engine.measure.machine import has_vnni
from compression_service.engine.memo import Memo

SMALLEST_WEIGHT_ELEMENTS = 256  # below this the bookkeeping of a quantized tensor outweighs what it saves

Feed = dict[str, np.ndarray]


@dataclass
class PassContext:
    """What a pass may use besides the model.

    calibration: feeds of batch 1, input name → array, never the evaluation rows. vnni: whether the processor which
    runs the model has 8-bit dot products (without them U8S8 saturates and 7 bits are used); unless said, whether
    this one has. work: a folder for temporary files. seconds_cap: after this a pass which tries several ways keeps
    the best so far.
    """

    calibration: list[Feed] = field(default_factory=list)
    seed: int = 0
    vnni: bool = field(default_factory=has_vnni)
    work: Path = field(default_factory=Path)
    seconds_cap: float = 60.0
    source: ModelProto | None = None  # what the recipe started from
    runs_like: Callable[[ModelProto, ModelProto], float] | None = None  # agreement of two models on calibration
    more: Callable[[int], Sequence[Feed]] | None = None  # the calibration feeds and made ones, so many in all
    memo: Memo = field(default_factory=Memo)  # what other recipes of the source have computed

    def kept(self, name: str, feeds: Sequence[Feed]) -> activations.Kept:
        """Where the pass `name` finds and leaves the moments of what layers see on `feeds`."""
        given = memo.of_feeds(self.calibration) if self.memo.folder is not None else ""
        return activations.Kept(self.memo, f"{name}/{given}/{self.seed}/{len(feeds)}")


@dataclass
class PassOutcome:
    """The changed model, what was done in words with counts, and the parameters which were really used."""

    model: ModelProto
    changed: str
    params: dict[str, Any]
    layers: list[dict[str, Any]] = field(default_factory=list)  # what was done to each, made by `layer`
    external: bool = False  # write the weights to a file beside the graph, which a runtime maps
    session_options: dict[str, Any] = field(default_factory=dict)  # what a runtime is told when it loads the variant


def layer(
    name: str, operator: str, shape: tuple[int, ...], bits: int, bytes_before: int, bytes_after: int,
    error: float | None = None, sensitivity: float | None = None, note: str = "",
) -> dict[str, Any]:  # fmt: skip
    """One layer's entry. error: ‖X(W−Ŵ)‖² / ‖XW‖² (of W alone without inputs); sensitivity: at the lowest bits."""
    return {
        "layer": name, "operator": operator, "shape": list(shape), "bits": bits, "bytes_before": bytes_before,
        "bytes_after": bytes_after, "error": error, "sensitivity": sensitivity, "note": note,
    }  # fmt: skip


@dataclass
class Site:
    """A constant weight and the node that reads it."""

    scope: graph.Scope
    node: NodeProto
    position: int
    tensor: TensorProto

    @property
    def bytes(self) -> int:
        return graph.tensor_bytes(self.tensor)


# Which input of an operator is its weight.
WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gather": (0,),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
}


def sites(model: ModelProto, *kinds: str, smallest: int = SMALLEST_WEIGHT_ELEMENTS) -> Iterator[Site]:
    """Float weights of rank 2 or more which the named operators read, in every subgraph of a normalised model."""
    for scope in graph.scopes(model.graph):
        for node in scope.graph.node:
            if node.domain not in graph.MAIN_DOMAINS or node.op_type not in kinds:
                continue
            for position in WEIGHT_INPUTS[node.op_type]:
                tensor = scope.find(node.input[position]) if position < len(node.input) else None
                if tensor is None or tensor.data_type not in graph.FLOAT_TYPES:
                    continue
                if len(tensor.dims) >= 2 and graph.elements(tensor) >= smallest:
                    yield Site(scope, node, position, tensor)


def has_spatial_convolutions(model: ModelProto) -> bool:
    """True when a convolution looks at neighbours: then convolutions do most of the arithmetic.

    A convolution with a kernel of 1 is a matrix product in disguise (DTLN); such networks gain nothing from quantizing
    every activation between their products.
    """
    return any(np.prod(site.tensor.dims[2:]) > 1 for site in sites(model, "Conv", "ConvTranspose", smallest=1))


def float_weight_bytes(model: ModelProto) -> int:
    """Bytes of all float tensors of rank 1 or more."""
    return sum(graph.tensor_bytes(t) for t in graph.tensors(model) if t.data_type in graph.FLOAT_TYPES and t.dims)


def already_quantized(model: ModelProto) -> str | None:
    """A sentence when the model carries quantized arithmetic already, else None."""
    names = graph.operators(model)
    found = [name for name in names if "QuantizeLinear" in name or name.split(":")[-1] in _INTEGER_OPERATORS]
    if found:
        return f"The model is already quantized ({', '.join(found[:3])})."
    return None


_INTEGER_OPERATORS = {
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "MatMulNBits", "GatherBlockQuantized",
    "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat", "QGemm", "QAttention", "MatMulBnb4",
}  # fmt: skip


def mostly_half(model: ModelProto) -> bool:
    """True when most float weights are in 16 bits."""
    by_type = {16: 0, 32: 0}
    for tensor in graph.tensors(model):
        if tensor.data_type in graph.FLOAT_TYPES:
            width = 16 if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) else 32
            by_type[width] += graph.elements(tensor)
    return by_type[16] > by_type[32]


def mostly_double(model: ModelProto) -> bool:
    """True when most float weights are in 64 bits."""
    counted: Counter[int] = Counter()
    for tensor in graph.tensors(model):
        if tensor.data_type in graph.FLOAT_TYPES:
            counted[tensor.data_type] += graph.elements(tensor)
    return 2 * counted[TensorProto.DOUBLE] > sum(counted.values())


def fresh_name(taken: set[str], wish: str) -> str:
    """`wish`, or `wish_1`, `wish_2` …: the first that the graph does not use; it is then taken."""
    name, number = wish, 0
    while name in taken:
        number += 1
        name = f"{wish}_{number}"
    taken.add(name)
    return name


def all_names(model: ModelProto) -> set[str]:
    """Every value and node name of the model, subgraphs included."""
    names: set[str] = set()
    for one in graph.graphs(model):
        names.update(tensor.name for tensor in one.initializer)
        names.update(value.name for value in [*one.input, *one.output])
        for node in one.node:
            names.update(node.output)
            names.add(node.name)
    return names


def replace_nodes(scope_graph: Any, replacements: dict[int, list[NodeProto]]) -> None:
    """Put each list of new nodes where the node with that index stood."""
    if not replacements:
        return
    rebuilt: list[NodeProto] = []
    for index, node in enumerate(scope_graph.node):
        rebuilt.extend(replacements.get(index, [NodeProto.FromString(node.SerializeToString())]))
    del scope_graph.node[:]
    scope_graph.node.extend(rebuilt)


def store(scope: graph.Scope, array: np.ndarray, wish: str, names: set[str]) -> str:
    """Add an initializer to the scope's graph under `wish` or the next free name; returns the name."""
    name = fresh_name(names, wish)
    scope.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def inputs_told(feeds: Sequence[Feed], context: PassContext) -> str:
    """How many inputs a pass looked at, and how many of them were made from the calibration inputs."""
    asked = feeds.asked if isinstance(feeds, Growing) else len(feeds)
    made = asked - len(context.calibration)
    return plural(asked, "input") + (f", {made:,} of them made from the calibration inputs" if made > 0 else "")


def plural(count: int, word: str) -> str:
    """`1 weight`, `3 weights`, `2 matrices`."""
    if count == 1:
        return f"1 {word}"
    return f"{count:,} {word[:-1]}ces" if word.endswith("ix") else f"{count:,} {word}s"
