"""What each input of a model is for, read from its name, its shape and what the graph does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from compression_service.engine import graph, streamed

Spec = dict[str, Any]
DEFAULT_TOKENS = 128
# Operator → (axis of its input, axis of its weight) which are of one size.
_WEIGHT_AXES = {"Conv": (1, 1), "MatMul": (-1, -2), "Gemm": (-1, 0), "LSTM": (-1, 2), "GRU": (-1, 2), "RNN": (-1, 2)}
PASS_THROUGH = (
    "Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Clip", "Flatten", "Transpose", "Slice", "Split", "Gather",
    "GatherElements", "Concat", "Expand", "Tile",
)  # fmt: skip


def specs(model: ModelProto, support: Path | None) -> list[Spec]:
    """graph.value_spec of each input plus "role": image, audio, ids, mask, types, positions, state, rate, signal …"""
    carried = carry(model)
    found = [graph.value_spec(value) for value in graph.real_inputs(model.graph)]
    names = {spec["name"].lower() for spec in found}
    stateful_audio = ("sr" in names or "state" in names) and any(
        spec["name"].lower() in ("input", "audio", "x") and len(spec["shape"] or []) == 2 for spec in found
    )
    preprocessing = read_json(support, "preprocessor_config.json")
    for spec in found:
        _fill_by_weights(model, spec)
        spec["role"] = _role(spec, carried, stateful_audio)
        if spec["role"] == "ids":
            spec["highest"] = _vocabulary(model, spec["name"], support)
        if spec["role"] == "image":
            dims = spec["shape"]
            spec["channels_last"] = dims[1] not in (1, 3) and dims[3] in (1, 3)
            bytes_taken = spec["dtype"] == "uint8"
            spec["range"] = (0.0, 255.0) if bytes_taken else _image_range(model, spec["name"], preprocessing)
    return found


def hints(support: Path | None) -> dict[str, int]:
    """{"tokens": longest sequence to use, "image": side} as far as configurations say it."""
    found: dict[str, int] = {"tokens": DEFAULT_TOKENS}
    for name in ("max_position_embeddings", "n_positions", "model_max_length"):
        value = read_json(support, "config.json").get(name)
        if isinstance(value, int) and value > 0:
            found["tokens"] = min(found["tokens"], value)
    size = read_json(support, "preprocessor_config.json").get("size")
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, int) and 0 < size <= 2048:
        found["image"] = size
    return found


def carry(model: ModelProto) -> dict[str, str]:
    """Recurrent state: input name → the output which is its next value.

    An output of the same shape with a similar name (`state`, `stateN`), or, where both are not the first ones and have
    at least three dimensions, of the same shape alone (DTLN).
    """
    inputs = [graph.value_spec(value) for value in graph.real_inputs(model.graph)]
    outputs = [graph.value_spec(value) for value in model.graph.output]
    found: dict[str, str] = {}
    for i, given in enumerate(inputs):
        for j, made in enumerate(outputs):
            if given["dtype"] != made["dtype"] or made["name"] in found.values() or not _same_shape(given, made):
                continue
            similar = _similar(given["name"], made["name"])
            later = i > 0 and j > 0 and len(given["shape"]) >= 3 and not given["name"].lower().startswith("pixel")
            if similar or later:
                found[given["name"]] = made["name"]
                break
    return found


def _same_shape(given: Spec, made: Spec) -> bool:
    if not given["shape"] or not made["shape"] or len(given["shape"]) != len(made["shape"]):
        return False
    pairs = zip(given["shape"], made["shape"], strict=True)
    return all(a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in pairs)


def _similar(given: str, made: str) -> bool:
    a, b = given.lower(), made.lower()
    stateful = ("state", "hidden", "cell", "past", "cache", "h0", "c0", "hn", "cn")
    return any(word in a for word in stateful) and (b.startswith(a) or a.replace("past", "present") == b or a in b)


def _fill_by_weights(model: ModelProto, spec: Spec) -> None:
    """Free dimensions which the first weight decides: channels of a convolution, width of a product or a recurrence."""
    dims = spec["shape"]
    if not dims or all(isinstance(dim, int) for dim in dims):
        return
    scope = graph.Scope(graph.normalise(model).graph)
    for node in scope.graph.node:
        if node.op_type not in _WEIGHT_AXES or node.input[0] != spec["name"] or len(node.input) < 2:
            continue
        weight = scope.find(node.input[1])
        of_input, of_weight = _WEIGHT_AXES[node.op_type]
        if weight is None or len(weight.dims) < 2:
            continue
        if node.op_type == "Gemm" and graph.attribute(node, "transB", 0):
            of_weight = 1
        size = int(weight.dims[of_weight])
        if node.op_type == "Conv":
            size *= int(graph.attribute(node, "group", 1))
        if len(dims) > 1 and not isinstance(dims[of_input], int):
            dims[of_input] = size


def _role(spec: Spec, carried: dict[str, str], stateful_audio: bool) -> str:
    name, dims, dtype = spec["name"].lower(), spec["shape"] or [], spec["dtype"]
    if spec["name"] in carried:
        return "state"
    if dtype == "string":
        return "string"
    if dtype == "bool":
        return "boolean"
    image = len(dims) == 4 and (_is_image(dims[1], dims[2:]) or _is_image(dims[3], dims[1:3]))
    if image and dtype == "uint8":
        return "image"
    if dtype.startswith(("int", "uint")):
        if name in ("sr", "sample_rate", "sampling_rate"):
            return "rate"
        for word, role in (("mask", "mask"), ("token_type", "types"), ("segment", "types"), ("position", "positions")):
            if word in name:
                return role
        return "ids"
    if image:
        return "image"
    if stateful_audio and len(dims) == 2:
        return "audio"
    return "signal"


def _is_image(channels: Any, sides: list[Any]) -> bool:
    return channels in (1, 3) and all(not isinstance(side, int) or side >= 8 for side in sides)


def _vocabulary(model: ModelProto, name: str, support: Path | None) -> int:
    """The height of the embedding table which the ids index, else config.json's vocabulary, else 256 (bytes)."""
    heights = []
    reached = {name}
    for scope in graph.scopes(graph.normalise(model).graph):
        for node in scope.graph.node:
            if node.op_type in PASS_THROUGH and reached & set(node.input[:1]):
                reached.update(node.output)
            if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] in reached:
                table = scope.find(node.input[0])
                if table is not None and len(table.dims) >= 2:
                    heights.append(int(table.dims[graph.attribute(node, "axis", 0)]))
    stated = read_json(support, "config.json").get("vocab_size")
    if isinstance(stated, int) and stated > 0:
        heights.append(stated)
    return min(heights) if heights else 256


def _image_range(model: ModelProto, name: str, preprocessing: dict[str, Any]) -> tuple[float, float]:
    """Where pixel values lie: from preprocessor_config.json, an ImageScaler, or a first step that divides by ~255."""
    mean, deviation = preprocessing.get("image_mean"), preprocessing.get("image_std")
    if isinstance(mean, list) and isinstance(deviation, list) and mean and deviation:
        return ((0 - max(mean)) / min(deviation), (1 - min(mean)) / min(deviation))
    scope = graph.Scope(graph.normalise(model).graph)
    for node in scope.graph.node:
        if name not in node.input:
            continue
        if node.op_type == "ImageScaler":
            return (0.0, 255.0)
        if node.op_type in ("Sub", "Div", "Mul", "Add"):
            for other in node.input:
                constant = scope.find(other)
                if constant is not None and graph.elements(constant) <= 16 and not graph.external_fields(constant):
                    largest = float(np.max(np.abs(streamed.array(constant))))
                    if largest >= 50 or (node.op_type == "Mul" and 0 < largest <= 0.02):
                        return (0.0, 255.0)
    return (0.0, 1.0)


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """A support file's object, {} where it is missing or none."""
    path = folder / name if folder is not None else None
    if path is None or not path.is_file() or path.is_symlink():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
