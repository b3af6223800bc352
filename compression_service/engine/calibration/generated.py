"""Inputs for models without a dataset: seeded, in the right types, shapes and ranges, and always described in words.

Only numpy: the probing process imports this file too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray]
Spec = dict[str, Any]  # graph.value_spec plus "role" and its parameters, see roles.py

TOKEN_LENGTHS = (128, 64, 32, 16, 8, 1)
SIGNAL_LENGTHS = (16, 64, 128, 512, 256, 1024, 2048, 4096, 16000, 1)
AUDIO_LENGTHS = (576, 512, 256, 1536, 16000)
IMAGE_SIDES = ((224, 224), (48, 192), (32, 32), (28, 28), (256, 256), (299, 299), (320, 320), (512, 512), (640, 640))
SAMPLE_RATE_HZ = 16000
LARGEST_FEED_NUMBERS = 2**24  # a length tried on three free axes is soon larger than the machine


def shape_candidates(specs: list[Spec], hints: dict[str, int]) -> list[dict[str, list[int]]]:
    """Shapes to try, likeliest first: input name → shape. Batch 1; hints: {"tokens", "image"} from configurations."""
    lengths: list[tuple[int, int]] = []
    roles = {spec["role"] for spec in specs}
    if "image" in roles:
        side = hints.get("image")
        lengths += [(side, side)] if side else []
        lengths += list(IMAGE_SIDES)
    elif "audio" in roles:
        lengths += [(n, n) for n in AUDIO_LENGTHS]
    elif roles & {"ids", "mask", "types", "positions"}:
        longest = hints.get("tokens", TOKEN_LENGTHS[0])
        lengths += [(min(longest, n), min(longest, n)) for n in TOKEN_LENGTHS]
    lengths += [(n, n) for n in SIGNAL_LENGTHS]
    found: list[dict[str, list[int]]] = []
    for pair in lengths:
        shapes = {spec["name"]: _shape(spec, pair) for spec in specs}
        numbers = sum(math.prod(shape) for shape in shapes.values())
        if shapes not in found and (not found or numbers <= LARGEST_FEED_NUMBERS):
            found.append(shapes)
    return found


def _shape(spec: Spec, pair: tuple[int, int]) -> list[int]:
    dims = spec["shape"] or []
    shape, free = [], 0
    for axis, dim in enumerate(dims):
        if isinstance(dim, int):
            shape.append(dim)
        elif (axis == 0 and len(dims) > 1) or spec["role"] == "state" or _is_batch(dim):
            shape.append(1)
        else:
            shape.append(pair[min(free, 1)])
            free += 1
    return shape


def _is_batch(dim: Any) -> bool:
    return isinstance(dim, str) and dim.lower() in ("batch", "batch_size", "n", "b")


def feed(specs: list[Spec], shapes: dict[str, list[int]], rng: np.random.Generator, step: int = 0) -> Feed:
    """One feed of batch 1."""
    return {spec["name"]: _array(spec, shapes[spec["name"]], rng, step) for spec in specs}


def _array(spec: Spec, shape: list[int], rng: np.random.Generator, step: int) -> np.ndarray:
    role = spec["role"]
    if role == "string":
        return np.asarray(rng.choice(["a", "model", "of", "words"], size=shape), dtype=object)
    dtype = np.dtype(spec["dtype"])
    if role == "rate":
        return np.full(shape, SAMPLE_RATE_HZ, dtype)
    if role == "mask":
        return np.ones(shape, dtype)
    if role in ("types", "state"):
        return np.zeros(shape, dtype)
    if role == "positions":
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    if role == "ids":
        return rng.integers(spec.get("lowest", 0), max(1, spec.get("highest", 100)), size=shape).astype(dtype)
    if role == "boolean":
        return rng.integers(0, 2, size=shape).astype(bool)
    if role == "image":
        return _image(spec, shape, rng).astype(dtype)
    if role == "audio":
        return _audio(shape, rng, step).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _image(spec: Spec, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    """Smooth colour patches with noise on them, in the range that the model expects."""
    channels_last = spec.get("channels_last", False)
    height, width = (shape[1], shape[2]) if channels_last else (shape[2], shape[3])
    channels = shape[3] if channels_last else shape[1]
    patches = rng.random((channels, 6, 6))
    rows = np.linspace(0, 4.999, height)
    columns = np.linspace(0, 4.999, width)
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None], (columns - left)[None, :]
    upper = patches[:, top][:, :, left] * (1 - right) + patches[:, top][:, :, left + 1] * right
    lower = patches[:, top + 1][:, :, left] * (1 - right) + patches[:, top + 1][:, :, left + 1] * right
    unit = np.clip(upper * (1 - down) + lower * down + rng.normal(0, 0.05, (channels, height, width)), 0, 1)
    low, high = spec.get("range", (0.0, 1.0))
    scaled = low + unit * (high - low)
    if channels_last:
        scaled = scaled.transpose(1, 2, 0)
    return np.broadcast_to(scaled, shape)


def _audio(shape: list[int], rng: np.random.Generator, step: int) -> np.ndarray:
    """A piece of a voice-like sound: harmonics of a low tone under a slow envelope, silence now and then."""
    samples = np.arange(shape[-1]) + step * shape[-1]
    seconds = samples / SAMPLE_RATE_HZ
    pitch_hz = rng.uniform(90, 250)
    loudness = max(0.0, np.sin(step / 5.0)) * rng.uniform(0.05, 0.4)
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * seconds) / k for k in range(1, 12))
    return np.broadcast_to(loudness * tone / 2 + rng.normal(0, 0.005, shape[-1]), shape)


def in_words(specs: list[Spec], shapes: dict[str, list[int]]) -> str:
    """What was generated, for people: `image float32 [1, 3, 224, 224]: smooth patches in 0…1`."""
    return "; ".join(f"{spec['name']} {spec['dtype']} {shapes[spec['name']]}: {_words(spec)}" for spec in specs)


def _words(spec: Spec) -> str:
    low, high = spec.get("range", (0.0, 1.0))
    return {
        "image": f"smooth random images in {low:g}…{high:g}",
        "audio": "voice-like sound",
        "ids": f"uniform integers {spec.get('lowest', 0)}…{max(1, spec.get('highest', 100)) - 1}",
        "mask": "ones",
        "types": "zeros",
        "positions": "0, 1, 2 …",
        "state": "zeros, then carried from the model's own output",
        "rate": f"{SAMPLE_RATE_HZ}",
        "boolean": "coin flips",
        "string": "words",
    }.get(spec["role"], "standard normal")
