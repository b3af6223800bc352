"""Encoded images as model inputs: decoded by Pillow, resized, cropped, scaled, ordered as the model takes them.

The card's `preprocessing` decides, then preprocessor_config.json (as transformers' image processors read it), then the
graph: its fixed sides, and the range its first operators expect.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from compression_service.engine.calibration.media import MediaError
from compression_service.engine.calibration.settings import RESAMPLING

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MOST_PIXELS = 50_000_000
USUAL_SIDE = 224
# Transformers writes Pillow's numbers.
_BY_NUMBER = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_CROPPED_BELOW = 384  # ConvNext's processor crops only below this side
_LARGEST_CONFIGURED = 4096

Side = tuple[int, int]


class PreprocessingError(ValueError):
    """What the card says does not fit the model's input; the message is the rest of a sentence."""


@dataclass(frozen=True)
class ImagePlan:
    """How an image becomes an input: resize (shortest edge, or to a size), crop, (pixel · scale − mean) / std."""

    shortest: int | None
    size: Side | None
    crop: Side | None
    final: Side | None
    resample: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    channels_last: bool
    shape: tuple[int | None, ...]
    dtype: str
    words: str
    guessed: bool


def takes_images(spec: dict[str, Any]) -> bool:
    """An input of role image, or one which an image of one channel fills: [N, H, W] and [N, H·W]."""
    return spec.get("role") == "image" or _flat_sides(spec) is not None


def plan(spec: dict[str, Any], stated: dict[str, Any], config: dict[str, Any]) -> ImagePlan:
    """`stated`: the card's preprocessing; `config`: preprocessor_config.json, {} where there is none."""
    dims = spec["shape"] or []
    flat = _flat_sides(spec)
    last = bool(spec.get("channels_last", False)) if "layout" not in stated else stated["layout"] == "NHWC"
    if flat is not None:
        sides: tuple[Any, Any] = flat
        count = 1
    else:
        sides = (dims[1], dims[2]) if last else (dims[2], dims[3])
        count = dims[3] if last else dims[1]
    channels = stated.get("channels") or ("BGR" if config.get("do_flip_channel_order") is True else "RGB")
    channels = "L" if count == 1 else channels
    if channels == "L" and isinstance(count, int) and count != 1:
        raise PreprocessingError(f"the card says one channel (L) and the input {spec['name']} takes {count}")
    fixed = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None
    shortest, size, crop, words = _sizes(spec, stated, config, fixed)
    scale, mean, std, guessed = _values(spec, stated, config, 1 if channels == "L" else 3)
    resample = stated.get("resample") or _BY_NUMBER.get(config.get("resample", 2), "bilinear")
    order = "" if channels == "L" else f", {channels}"
    values = (
        f"× {scale:g}"
        + (f" − {_short(mean)}" if any(mean) else "")
        + (f" / {_short(std)}" if set(std) != {1.0} else "")
    )
    shape = tuple(dim if isinstance(dim, int) else None for dim in dims)
    return ImagePlan(
        shortest, size, crop, fixed, resample, scale, mean, std, channels, last, shape, spec["dtype"],
        f"images {words}{order}, {values}", guessed,
    )  # fmt: skip


def array(content: bytes, how: ImagePlan) -> np.ndarray:
    """One input of batch 1. MediaError when the bytes are no image that is read here."""
    opened = decoded(content, "L" if how.channels == "L" else "RGB")
    pixels: Any = np.asarray(_fitted(opened, how), np.float32)
    if how.channels == "L":
        pixels = pixels[:, :, None]
    elif how.channels == "BGR":
        pixels = pixels[:, :, ::-1]
    if how.scale != 1.0:
        pixels = pixels * np.float32(how.scale)
    pixels = (pixels - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    if np.dtype(how.dtype).kind in "ui":
        limits = np.iinfo(how.dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    if len(how.shape) != 4:
        return np.ascontiguousarray(
            pixels[None, :, :, 0].reshape((1, *(side or 1 for side in how.shape[1:]))), np.dtype(how.dtype)
        )
    ordered = pixels if how.channels_last else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered[None], np.dtype(how.dtype))


def classes(content: bytes) -> np.ndarray:
    """A mask [H, W] of class numbers: a palette's index, or the grey value (0 and 255 alone: 0 and 1)."""
    opened = _opened(content)
    mask = np.asarray(opened if opened.mode in ("P", "L", "1", "I", "I;16") else opened.convert("L")).astype(np.int64)
    values = np.unique(mask)
    return mask // 255 if opened.mode != "P" and set(values.tolist()) == {0, 255} else mask


def decoded(content: bytes, mode: str) -> Any:
    """A Pillow image of mode L or RGB (R: RGB)."""
    return _opened(content).convert("L" if mode == "L" else "RGB")


def _opened(content: bytes) -> Any:
    from PIL import Image

    try:
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
        if opened.width * opened.height > MOST_PIXELS:
            raise MediaError(f"it has {opened.width} × {opened.height} pixels, more than {MOST_PIXELS}")  # noqa: TRY301
        opened.load()
    except MediaError:
        raise
    except Exception as error:  # decoders of broken files raise nearly every kind
        raise MediaError(f"it is no whole image of the kinds {', '.join(FORMATS)}") from error
    return opened


def _fitted(image: Any, how: ImagePlan) -> Any:
    from PIL import Image

    method = Image.Resampling[how.resample.upper()]
    if how.shortest is not None:
        ratio = how.shortest / min(image.size)
        image = image.resize([max(1, round(side * ratio)) for side in image.size], method)
    elif how.size is not None and (image.height, image.width) != how.size:
        image = image.resize((how.size[1], how.size[0]), method)
    if how.crop is not None:
        left, top = (image.width - how.crop[1]) // 2, (image.height - how.crop[0]) // 2
        image = image.crop((left, top, left + how.crop[1], top + how.crop[0]))
    if how.final is not None and (image.height, image.width) != how.final:
        image = image.resize((how.final[1], how.final[0]), method)
    return image


def _sizes(
    spec: dict[str, Any], stated: dict[str, Any], config: dict[str, Any], fixed: Side | None
) -> tuple[int | None, Side | None, Side | None, str]:
    """(shortest edge, size, crop, in words)."""
    if "size" in stated or "crop" in stated:
        shortest = stated["size"] if isinstance(stated.get("size"), int) else None
        size = _pair(stated["size"]) if isinstance(stated.get("size"), list) else None
        crop = _pair(stated["crop"]) if "crop" in stated else None
        if crop is None and shortest is not None and fixed is None:
            crop = (shortest, shortest)
        made = crop or size
        if made is not None and fixed is not None and made != fixed:
            raise PreprocessingError(
                f"the card's preprocessing makes images of {made[0]} × {made[1]} and the input {spec['name']} takes"
                f" {fixed[0]} × {fixed[1]}"
            )
        if shortest is not None and crop is None:
            crop = fixed  # cut, not pressed, to what the input takes
        return shortest, size, crop, _in_words(shortest, size, crop) + " as the card says"
    shortest, size, crop = _configured(config)
    if shortest is not None or size is not None:
        return shortest, size, crop, _in_words(shortest, size, crop) + " as preprocessor_config.json says"
    sides = fixed or (USUAL_SIDE, USUAL_SIDE)
    if sides[0] == sides[1]:
        return sides[0], None, sides, _in_words(sides[0], None, sides)
    return None, sides, None, _in_words(None, sides, None)


def _configured(config: dict[str, Any]) -> tuple[int | None, Side | None, Side | None]:
    size, crops = config.get("size"), config.get("do_center_crop") is True
    if config.get("do_resize", True) is not True:
        size = None
    crop = _side_of(config.get("crop_size")) if crops else None
    if isinstance(size, int) and _sane(size):
        return (size, None, crop) if crops else (None, (size, size), None)
    if not isinstance(size, dict):
        return None, None, None
    edge: Any = size.get("shortest_edge")
    share = config.get("crop_pct")
    if _sane(edge):
        if isinstance(share, float) and 0 < share < 1 and edge < _CROPPED_BELOW:
            return int(edge / share), None, (edge, edge)
        return edge, None, crop or (edge, edge)
    return None, _side_of(size), crop


def _side_of(value: Any) -> Side | None:
    if isinstance(value, int) and _sane(value):
        return value, value
    if isinstance(value, dict) and _sane(value.get("height")) and _sane(value.get("width")):
        return value["height"], value["width"]
    return None


def _sane(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_CONFIGURED


def _values(
    spec: dict[str, Any], stated: dict[str, Any], config: dict[str, Any], count: int
) -> tuple[float, tuple[float, ...], tuple[float, ...], bool]:
    """(scale, mean, std, whether they are only guessed)."""
    none, ones = (0.0,) * count, (1.0,) * count
    if {"mean", "std", "scale"} & set(stated):
        mean, std = _each(stated.get("mean", 0.0), count), _each(stated.get("std", 1.0), count)
        bytes_meant = max(abs(n) for n in mean) > 2 or max(std) > 2
        return float(stated.get("scale", 1.0 if bytes_meant else 1 / 255)), mean, std, False
    if config:
        factor = config.get("rescale_factor", 1 / 255)
        scale = float(factor) if config.get("do_rescale", True) is True and _is_number(factor) else 1.0
        means: Any = config.get("image_mean")
        stds: Any = config.get("image_std")
        if config.get("do_normalize", means is not None) is True and _numbers(means, count) and _numbers(stds, count):
            return scale, tuple(map(float, means)), tuple(map(float, stds)), False
        return scale, none, ones, False
    low, high = spec.get("range", (0.0, 1.0))
    if np.dtype(spec["dtype"]).kind in "ui":
        return 1.0, none, ones, False
    return (high - low) / 255, (-low,) * count, ones, True


def _each(value: Any, count: int) -> tuple[float, ...]:
    numbers = [float(n) for n in (value if isinstance(value, list) else [value])]
    if len(numbers) not in (1, count):
        raise PreprocessingError(f"the card names {len(numbers)} figures for a channel and the model takes {count}")
    return tuple(numbers * count if len(numbers) == 1 else numbers)


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(_is_number(n) for n in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and abs(value) < 1e9


def _pair(value: Any) -> Side:
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def _flat_sides(spec: dict[str, Any]) -> Side | None:
    dims = spec["shape"] or []
    if spec.get("role") != "signal" or np.dtype(spec["dtype"]).kind not in "f":
        return None
    if len(dims) == 3 and all(isinstance(dim, int) and dim >= 8 for dim in dims[1:]):
        return dims[1], dims[2]
    side = round(dims[1] ** 0.5) if len(dims) == 2 and isinstance(dims[1], int) else 0
    return (side, side) if side >= 8 and side * side == dims[1] else None


def _in_words(shortest: int | None, size: Side | None, crop: Side | None) -> str:
    parts = [f"resized to {shortest} at the shorter edge"] if shortest else []
    parts += [f"resized to {size[0]} × {size[1]}"] if size else []
    parts += [f"cropped to {crop[0]} × {crop[1]}"] if crop else []
    return ", ".join(parts) or "in their own size"


def _short(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"


assert set(_BY_NUMBER.values()) == set(RESAMPLING)
