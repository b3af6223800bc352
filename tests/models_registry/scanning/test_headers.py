"""Headers of weight files: what is read of right ones, and that wrong ones are refused with a sentence."""

import json
import struct

import pytest

from models_registry.scanning.headers import HeaderError, gguf_facts, safetensors_parameters


def reader(data):
    return lambda start, length: data[start : start + length]


def safetensors(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_parameters_by_type():
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [24, 28]},
        "c": {"dtype": "I8", "shape": [0, 5], "data_offsets": [28, 28]},
    }
    assert safetensors_parameters(reader(safetensors(header))) == {"F32": 7, "I8": 0}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"1234", struct.pack("<Q", 2**60), safetensors(b"{"), safetensors([]), safetensors({"a": 1}),
        safetensors({"a": {"dtype": "F32", "shape": [-1]}}), safetensors({"a": {"dtype": "F32", "shape": [True]}}),
        safetensors({"a": {"dtype": 4, "shape": []}}), safetensors({"a": {"dtype": "F32", "shape": [2**62, 2**62]}}),
        safetensors({"a": {"dtype": "F32", "shape": [2**62] * 1000}}), safetensors(b"[" * 100_000),
    ],
)  # fmt: skip
def test_malformed_safetensors(data):
    with pytest.raises(HeaderError):
        safetensors_parameters(reader(data))


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(pairs=b"", count=0, tensors=b"", number=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, number, count) + pairs + tensors


def test_a_gguf_header():
    pairs = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    pairs += text("llama.context_length") + struct.pack("<II", 4, 2048)
    pairs += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("<s>") + text("</s>")
    pairs += text("tokenizer.ggml.eos_token_id") + struct.pack("<II", 4, 1)
    tensor = text("w") + struct.pack("<IQQ", 2, 4, 8) + struct.pack("<IQ", 0, 0)
    facts = gguf_facts(reader(gguf(pairs, 4, tensor, 1)))
    assert facts == {"total": 32, "architecture": "llama", "context_length": 2048, "eos_token": "</s>"}


@pytest.mark.parametrize(
    "data",
    [b"", b"GGML", gguf(version=1), gguf(count=5), gguf(number=10**9), gguf(text("k") + struct.pack("<I", 99), 1),
     gguf(text("k") + struct.pack("<IIQ", 9, 8, 2**60), 1), gguf(text("k") + struct.pack("<IIQ", 9, 9, 1), 1)],
)  # fmt: skip
def test_malformed_gguf(data):
    with pytest.raises(HeaderError):
        gguf_facts(reader(data))
