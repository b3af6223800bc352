"""Graph clean-up: what an exporter leaves and no runtime reads goes; equal weights are stored once; names become short.

Documentation strings, metadata, value_info and long names are up to a third of a small model's file. Names of the
model's inputs and outputs stay, for callers use them. Ifs which ranks and sizes decide give way to their branches
(branching.py). Sources: onnx IR specification (which fields carry no meaning).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import GraphProto, ModelProto

from compression_service.engine import branching, graph
from compression_service.engine.passes.base import PassContext, PassOutcome, plural
from compression_service.engine.sharing import share_equal_weights

SOURCE = "ONNX IR specification"
NEEDS_FLOAT_SOURCE = False
STREAMS = True
DIGITS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def verdict(model: ModelProto) -> str | None:
    """Always applies: every graph has names."""
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """The same graph in fewer bytes."""
    before = model.ByteSize()
    cleaned = graph.normalise(model)
    decided = branching.decide(cleaned)
    share_equal_weights(cleaned)
    graph.drop_unused_initializers(cleaned)
    for field in ("doc_string", "producer_name", "producer_version", "domain", "model_version"):
        cleaned.ClearField(field)
    del cleaned.metadata_props[:]
    if not cleaned.functions:  # their bodies have names of their own
        _shorten(cleaned)
    for one in graph.graphs(cleaned):
        one.ClearField("doc_string")
        for node in one.node:
            node.ClearField("doc_string")
            node.ClearField("name")
            del node.metadata_props[:]
        for tensor in one.initializer:
            tensor.ClearField("doc_string")
    saved = before - cleaned.ByteSize()
    words = f"{max(0, saved):,} bytes of names, notes and repeated weights taken out"
    if decided:
        words += f", {plural(decided, 'condition')} decided by ranks and fixed sizes"
    return PassOutcome(cleaned, words, params)


def _shorten(model: ModelProto) -> None:
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    fresh = (name for name in _names() if name not in kept)
    renamed: dict[str, str] = {}
    for one in graph.graphs(model):
        for name in _defined(one):
            if name and name not in kept and name not in renamed:
                renamed[name] = next(fresh)
    for one in graph.graphs(model):
        one.name = "g"
        _rename(one, renamed)


def _names() -> Iterator[str]:
    length = 1
    while True:
        for number in range(len(DIGITS) ** length):
            word = ""
            for _ in range(length):
                number, digit = divmod(number, len(DIGITS))
                word = DIGITS[digit] + word
            yield word
        length += 1


def _defined(one: GraphProto) -> Iterator[str]:
    for value in one.input:
        yield value.name
    for tensor in one.initializer:
        yield tensor.name
    for sparse in one.sparse_initializer:
        yield sparse.values.name
    for node in one.node:
        yield from node.output


def _rename(one: GraphProto, renamed: dict[str, str]) -> None:
    for value in [*one.input, *one.output]:
        value.name = renamed.get(value.name, value.name)
    for tensor in one.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for sparse in one.sparse_initializer:
        sparse.values.name = renamed.get(sparse.values.name, sparse.values.name)
    for node in one.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = renamed.get(name, name)
