"""Reading and rewriting ONNX graphs wherever their weights live.

Weights stand in initializers, in Constant nodes, in sparse initializers, in the branches of If and Loop, and in
external files; every question that the engine asks of a model goes through here so that none of them is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper, helper, numpy_helper

from compression_service.engine import streamed

FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
SINGLE_FILE_LIMIT_BYTES = 1_900_000_000
MAIN_DOMAINS = ("", "ai.onnx")
_PACKED = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32,
    TensorProto.INT64,
)  # fmt: skip
_LEAST_PACKED = 64
NEWEST_QUIET_IR = 10  # what onnxruntime 1.18 and later take; a higher one is written only when the source had it


def load(path: Path) -> ModelProto:
    """The model with its external data; call convert.onnx_checks first on files that somebody pushed.

    The weights of a large one (streamed.STREAMED_FROM_BYTES) stay in their files until `streamed.array` asks for them.
    """
    model = onnx.load(str(path), load_external_data=False)
    outside = [tensor for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
    if path.stat().st_size + sum(map(tensor_bytes, outside)) < streamed.STREAMED_FROM_BYTES:
        if outside:
            external_data_helper.load_external_data_for_model(model, str(path.parent))
        return model
    streamed.resolved(outside, path.parent)
    return streamed.spill(model, tensors(model))


def is_streamed(model: ModelProto) -> bool:
    """Whether weights of the model stay in files."""
    return any(streamed.located(tensor) for tensor in tensors(model))


def initializers(model: ModelProto) -> Iterator[TensorProto]:
    """The initializers of every graph."""
    for graph in graphs(model):
        yield from graph.initializer


def save(model: ModelProto, path: Path, external: bool = False, scratch: bool = False) -> list[Path]:
    """Write the model, the same bytes for the same model; returns the files written, the graph first.

    Weights go to `<name>_data` beside it when `external` says so, when one protobuf cannot hold them, or when they are
    streamed; a `scratch` copy, which is read and thrown away, may link to the files where they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_streamed(model):
        return streamed.write(model, path, initializers, linked=scratch)
    _pack(model)
    if not external and model.ByteSize() < SINGLE_FILE_LIMIT_BYTES:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return [path]
    data_name = path.name + "_data"
    (path.parent / data_name).unlink(missing_ok=True)  # onnx would write behind what is there
    onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data_name)
    external_data_helper.load_external_data_for_model(model, str(path.parent))  # onnx took the weights out of `model`
    data = path.parent / data_name
    return [path, data] if data.is_file() else [path]


def _pack(model: ModelProto) -> None:
    """Numbers in repeated fields as raw bytes: fewer of them, and only such tensors can be written beside the graph."""
    for tensor in initializers(model):
        if tensor.HasField("raw_data") or tensor.data_location == TensorProto.EXTERNAL:
            continue
        if tensor.data_type in _PACKED and elements(tensor) >= _LEAST_PACKED:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The main graph, then every subgraph in depth-first order."""
    yield from graphs_below(model.graph)


def graphs_below(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph, then every subgraph inside it in depth-first order."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs_below(attribute.g)
            for inner in attribute.graphs:
                yield from graphs_below(inner)


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of every graph, and of the model's local functions."""
    for graph in graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def operator(node: NodeProto) -> str:
    """`MatMul` for the main domain, `com.microsoft:MatMulNBits` for another."""
    return node.op_type if node.domain in MAIN_DOMAINS else f"{node.domain}:{node.op_type}"


def constant_value(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node, None for its other forms (strings, sparse)."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_float", "value_floats"):
            values = [attribute.f] if attribute.name == "value_float" else list(attribute.floats)
            array = np.asarray(values, np.float32)
            return numpy_helper.from_array(array[0] if attribute.name == "value_float" else array)
        if attribute.name in ("value_int", "value_ints"):
            integers = [attribute.i] if attribute.name == "value_int" else list(attribute.ints)
            array = np.asarray(integers, np.int64)
            return numpy_helper.from_array(array[0] if attribute.name == "value_int" else array)
    return None


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant tensor of the model, wherever it stands."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor.values
                yield attribute.sparse_tensor.indices


def elements(tensor: TensorProto) -> int:
    """How many numbers the tensor's shape names."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def item_bytes(data_type: int) -> float:
    """Bytes of one element; half a byte for the 4-bit types."""
    if data_type in (TensorProto.INT4, TensorProto.UINT4):
        return 0.5
    try:
        return float(helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        return 1.0


def tensor_bytes(tensor: TensorProto) -> int:
    """Bytes of the tensor's numbers, strings by their own length."""
    if tensor.data_type == TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    return int(elements(tensor) * item_bytes(tensor.data_type))


def external_fields(tensor: TensorProto) -> dict[str, str] | None:
    """The external-data entries of a tensor (location, offset, length), None when its data is inside."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    return {entry.key: entry.value for entry in tensor.external_data}


def real_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a caller must feed: old models list their initializers among the inputs too."""
    given = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in given]


def value_spec(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """{"name", "dtype", "shape"}: dims are numbers, names, or None where nothing is known."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return {"name": value.name, "dtype": (kind or "unknown").removesuffix("_type"), "shape": None}
    tensor_type = value.type.tensor_type
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)).name
    except (KeyError, TypeError, ValueError):
        dtype = "unknown"
    if tensor_type.elem_type == TensorProto.STRING:
        dtype = "string"
    shape: list[int | str | None] | None = None
    if tensor_type.HasField("shape"):
        # A dimension of 0 or -1 is an exporter's way to say "unknown" (silero-vad writes 0).
        shape = [
            (dim.dim_value if dim.dim_value > 0 else None) if dim.HasField("dim_value") else (dim.dim_param or None)
            for dim in tensor_type.shape.dim
        ]
    return {"name": value.name, "dtype": dtype, "shape": shape}


def opset(model: ModelProto) -> int:
    """The version of the main operator set, 0 when the model names none."""
    return max((entry.version for entry in model.opset_import if entry.domain in MAIN_DOMAINS), default=0)


def require_domain(model: ModelProto, domain: str, version: int = 1) -> None:
    """Add an operator set to the model's imports once."""
    if all(entry.domain != domain for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(domain, version))


def operators(model: ModelProto) -> dict[str, int]:
    """How often each operator stands in the model, subgraphs included, most frequent first."""
    counted = Counter(operator(node) for node in nodes(model))
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def describe(model: ModelProto) -> dict[str, Any]:
    """The facts of one component for people: inputs, outputs, opset, operators, weights."""
    return {
        "opset": opset(model),
        "ir_version": model.ir_version,
        "inputs": [value_spec(value) for value in real_inputs(model.graph)],
        "outputs": [value_spec(value) for value in model.graph.output],
        "weights_bytes": sum(tensor_bytes(t) for t in tensors(model)),
        "operators": operators(model),
    }


def normalise(model: ModelProto) -> ModelProto:
    """A copy in the shape that the passes rely on: constants as initializers, none of them also an input.

    IR versions before 4 list initializers among the inputs, where a runtime may not fold them. value_info goes:
    it is wrong as soon as a type changes, and torch's dynamo exporter leaves some that stop shape inference.
    """
    from compression_service.engine import folding  # which reads graphs by this module

    copy = ModelProto()
    copy.CopyFrom(model)
    for graph in graphs(copy):
        kept = real_inputs(graph)
        if len(kept) != len(graph.input):
            inputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
            del graph.input[:]
            graph.input.extend(inputs)
        del graph.value_info[:]
        _constants_to_initializers(graph)
    folding.fold(copy)
    copy.ir_version = lowest_ir(copy)
    return copy


def _constants_to_initializers(graph: GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    remaining: list[NodeProto] = []
    for node in graph.node:
        is_constant = node.op_type == "Constant" and node.domain in MAIN_DOMAINS
        tensor = constant_value(node) if is_constant and node.output[0] not in outputs else None
        if tensor is None:
            remaining.append(node)
            continue
        initializer = graph.initializer.add()
        initializer.CopyFrom(tensor)
        initializer.name = node.output[0]
    keep_nodes(graph, remaining)


def lowest_ir(model: ModelProto) -> int:
    """The lowest IR version that the operator sets and tensor types allow, at least 4 (free initializers).

    onnx writes its newest by default, which older runtimes refuse; 4-bit tensors need 10.
    """
    try:
        needed = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    except ValueError:
        needed = model.ir_version
    if any(t.data_type in (TensorProto.INT4, TensorProto.UINT4) for t in tensors(model)):
        needed = max(needed, 10)
    return max(4, min(needed, max(model.ir_version, NEWEST_QUIET_IR)))


class Scope:
    """The constants that a node of a graph can see: its own graph's and its parents'."""

    def __init__(self, graph: GraphProto, parent: Scope | None = None) -> None:
        self.graph = graph
        self.parent = parent
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}

    def find(self, name: str) -> TensorProto | None:
        found = self.initializers.get(name)
        if found is None and self.parent is not None:
            return self.parent.find(name)
        return found

    def array(self, name: str) -> np.ndarray | None:
        tensor = self.find(name)
        return None if tensor is None else streamed.array(tensor)


def scopes(graph: GraphProto, parent: Scope | None = None) -> Iterator[Scope]:
    """A Scope for the graph and for each graph inside it."""
    scope = Scope(graph, parent)
    yield scope
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from scopes(attribute.g, scope)
            for inner in attribute.graphs:
                yield from scopes(inner, scope)


def names_used(model: ModelProto) -> Counter[str]:
    """How often each name is read by a node or given out by a graph, all graphs together."""
    counted: Counter[str] = Counter()
    for node in nodes(model):
        counted.update(name for name in node.input if name)
    for graph in graphs(model):
        counted.update(value.name for value in graph.output)
    return counted


def keep_nodes(graph: GraphProto, kept: list[NodeProto]) -> None:
    """Take out all nodes of a graph but these, which keep their order."""
    if len(kept) != len(graph.node):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def drop_unused(model: ModelProto) -> None:
    """Remove nodes and initializers which nothing reads any more."""
    left = -1
    while left != (left := sum(len(graph.node) for graph in graphs(model))):
        used = names_used(model)
        for graph in graphs(model):
            keep_nodes(graph, [node for node in graph.node if any(used[name] for name in node.output)])
    drop_unused_initializers(model)


def drop_unused_initializers(model: ModelProto) -> None:
    """Remove initializers which nothing reads any more (weights that a pass replaced)."""
    used = names_used(model)
    for graph in graphs(model):
        kept = [tensor for tensor in graph.initializer if used[tensor.name]]
        if len(kept) != len(graph.initializer):
            copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
            del graph.initializer[:]
            graph.initializer.extend(copies)


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or the default."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default
