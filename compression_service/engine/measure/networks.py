"""Small networks as ONNX bytes (opset 13): the light client has no onnx to build them with."""

from __future__ import annotations

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6  # of onnx.TensorProto.DataType


def product_model(op: str, kinds: tuple[int, int, int], weights: bytes, side: int) -> bytes:
    """x [side, side] times constant weights; `kinds` of x, weights and result."""
    nodes = _part(1, _node(op, ("x", "w"), "y"))
    constant = _part(5, _constant("w", kinds[1], weights, side))
    return _model("product", nodes + constant, kinds[0], kinds[2], side)


def chain_model(weights: list[bytes], side: int) -> bytes:
    """x [side, side] through products with constant weights (fp32) and a Relu after each."""
    nodes = constants = b""
    for number, values in enumerate(weights):
        fed = "x" if number == 0 else f"h{number}"
        out = "y" if number == len(weights) - 1 else f"h{number + 1}"
        nodes += _part(1, _node("MatMul", (fed, f"w{number}"), f"p{number}")) + _part(
            1, _node("Relu", (f"p{number}",), out)
        )
        constants += _part(5, _constant(f"w{number}", FLOAT, values, side))
    return _model("chain", nodes + constants, FLOAT, FLOAT, side)


def _model(name: str, inside: bytes, kind_in: int, kind_out: int, side: int) -> bytes:
    graph = inside + _text(2, name)
    graph += _part(11, _value("x", kind_in, side)) + _part(12, _value("y", kind_out, side))
    return _number(1, 7) + _part(7, graph) + _part(8, _text(1, "") + _number(2, 13))


def _node(op: str, fed: tuple[str, ...], out: str) -> bytes:
    return b"".join(_text(1, one) for one in fed) + _text(2, out) + _text(4, op)


def _constant(name: str, kind: int, values: bytes, side: int) -> bytes:
    return _number(1, side) + _number(1, side) + _number(2, kind) + _text(8, name) + _part(9, values)


def _value(name: str, kind: int, side: int) -> bytes:
    length = _part(1, _number(1, side))
    return _text(1, name) + _part(2, _part(1, _number(1, kind) + _part(2, length + length)))


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
