"""More calibration inputs out of few: each is made from one calibration row, never from a row which evaluates.

Images: moved, turned, scaled, mirrored, with noise. Sounds: louder or softer, moved in time, with noise. Tokens: some
masked, some neighbours swapped. Numbers: noise of a share of their deviation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

Feed = dict[str, np.ndarray]
TURN_DEGREES = 10.0
MOVE_SHARE = 0.08
ZOOM = 0.1
NOISE_SHARE = 0.02  # of an image's or a sound's deviation
NUMBER_NOISE_SHARE = 0.05
GAIN_DB = 6.0
MASKED_SHARE = 0.15  # Devlin et al. 2019
SWAPPED_SHARE = 0.1
EXCHANGED_SHARE = 0.25
WORDS = {
    "image": "shifts, crops, flips, rotations and noise",
    "ids": "masked and shuffled tokens",
    "audio": "noise, shifts and gain",
    "signal": "noise",
}


class Growing(Sequence[Feed]):
    """Feeds followed by made ones up to `wanted`, each made when it is first asked for: many passes stop before."""

    def __init__(self, feeds: list[Feed], made: Iterator[Feed], wanted: int) -> None:
        self._known, self._made, self._wanted, self._asked = list(feeds), made, wanted, 0

    def __len__(self) -> int:
        return self._wanted

    def __getitem__(self, index: Any) -> Any:
        last = range(self._wanted)[index]  # IndexError beyond the end
        while not isinstance(last, range) and len(self._known) <= last:
            self._known.append(next(self._made))
        return [self[i] for i in last] if isinstance(last, range) else self._known[last]

    @property
    def asked(self) -> int:
        """How many there have been so far."""
        return max(self._asked, len(self._known))

    def were_asked(self, count: int) -> None:
        """An earlier recipe has looked at so many of the same."""
        self._asked = max(self._asked, count)


def more(
    feeds: list[Feed], specs: list[dict[str, Any]], wanted: int, rng: np.random.Generator, mask_id: int | None = None,
    across: bool = False,
) -> tuple[Sequence[Feed], str]:  # fmt: skip
    """`feeds` followed by made ones up to `wanted`, and by what they were made; ([…], "") where nothing can be done.

    `across`: tokens come from all rows (mixed), for passes which need many different inputs rather than likely ones.
    """
    by_name = {spec["name"]: spec for spec in specs}
    roles = {name: _role(by_name[name], feeds[0][name]) for name in feeds[0] if name in by_name}
    kinds = [role for role in dict.fromkeys(roles.values()) if role in WORDS]
    if not kinds or len(feeds) >= wanted:
        return feeds, ""
    made = _made(feeds, by_name, roles, rng, mask_id, across)
    return Growing(feeds, made, wanted), " and ".join(WORDS[kind] for kind in kinds)


def _made(
    feeds: list[Feed], by_name: dict[str, dict[str, Any]], roles: dict[str, str], rng: np.random.Generator,
    mask_id: int | None, across: bool,
) -> Iterator[Feed]:  # fmt: skip
    spread = {name: np.std([feed[name] for feed in feeds], axis=0) for name, role in roles.items()
              if role == "signal" and len({feed[name].shape for feed in feeds}) == 1}  # fmt: skip
    pools = {
        name: np.concatenate([feed[name].reshape(-1)[1:-1] for feed in feeds])
        for name, role in roles.items() if role == "ids" and across
    }  # fmt: skip
    for index in itertools.count():
        feed = dict(feeds[index % len(feeds)])
        for name, role in roles.items():
            array = feed[name]
            if role == "image":
                feed[name] = image(array, rng, bool(by_name[name].get("channels_last", False)))
            elif role == "ids" and across and pools[name].size:
                feed[name] = mixed(array, pools[name], feeds[int(rng.integers(len(feeds)))][name], rng)
            elif role == "ids":
                feed[name] = tokens(array, rng, mask_id)
            elif role == "audio":
                feed[name] = sound(array.reshape(-1), rng).reshape(array.shape).astype(array.dtype)
            elif role == "signal" and name in spread:
                noise = rng.standard_normal(array.shape) * np.maximum(spread[name], np.std(array)) * NUMBER_NOISE_SHARE
                feed[name] = (array + noise).astype(array.dtype)
        yield feed


def mixed(ids: np.ndarray, pool: np.ndarray, partner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[1, T]: some tokens from the pool, or all in another order, or the second half of another row; the ends stay."""
    made = ids.copy().reshape(-1)
    inner, way = np.arange(1, made.size - 1), int(rng.integers(3))
    if not inner.size:
        return ids
    if way == 0:
        chosen = inner[rng.random(inner.size) < EXCHANGED_SHARE]
        made[chosen] = rng.choice(pool, chosen.size)
    elif way == 1:
        made[inner] = rng.permutation(made[inner])
    else:
        other, half = partner.reshape(-1)[1:-1], inner[inner.size // 2 :]
        other = other[-half.size :]
        made[half[: other.size]] = other
    return made.reshape(ids.shape)


def _role(spec: dict[str, Any], array: np.ndarray) -> str:
    role = str(spec.get("role", "signal"))
    if role == "image":
        return role if array.ndim == 4 and min(array.shape[1:3]) >= 1 else ""
    if role in ("ids", "audio"):
        return role
    return "signal" if role == "signal" and array.dtype.kind == "f" else ""


def image(array: np.ndarray, rng: np.random.Generator, channels_last: bool = False) -> np.ndarray:
    """[1, C, H, W] or [1, H, W, C]: a bilinear affine map, the edge carried outwards, mirrored half of the time."""
    planes = np.moveaxis(array[0], -1, 0) if channels_last else array[0]
    values = planes.astype(np.float32)
    height, width = values.shape[1:]
    angle = np.deg2rad(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    zoom = 1 + rng.uniform(-ZOOM, ZOOM)
    mirror = -1 if rng.random() < 0.5 else 1
    moves = [rng.uniform(-MOVE_SHARE, MOVE_SHARE) * side for side in (width, height)]
    # [x, y] of the new image about its middle, to the old one's.
    turn = np.array([[np.cos(angle) * mirror, np.sin(angle)], [-np.sin(angle) * mirror, np.cos(angle)]]) / zoom
    reach = np.abs(turn) @ [width / 2, height / 2] + np.abs(moves)
    across, up = (int(np.ceil(max(0, far - side / 2))) + 2 for far, side in zip(reach, (width, height), strict=True))
    middle = np.array([width / 2 + across, height / 2 + up]) + moves - turn @ [width / 2, height / 2]
    affine = (*turn[0], middle[0], *turn[1], middle[1])
    padded = np.pad(values, [(0, 0), (up, up), (across, across)], mode="edge")
    made = np.stack([_mapped(plane, (width, height), affine) for plane in padded])
    made += rng.standard_normal(made.shape, np.float32) * np.float32(values.std() * NOISE_SHARE)
    made = np.clip(made, values.min(), values.max())
    made = np.rint(made) if array.dtype.kind in "ui" else made
    return np.ascontiguousarray((np.moveaxis(made, 0, -1) if channels_last else made)[None].astype(array.dtype))


def _mapped(plane: np.ndarray, size: tuple[int, int], affine: tuple[float, ...]) -> np.ndarray:
    way, between = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).transform(size, way, affine, between))


def sound(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[samples] → the same length: rolled, gained and with noise."""
    gain = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
    moved = np.roll(wave.astype(np.float64), int(rng.integers(0, max(1, wave.size))))
    noise = rng.standard_normal(wave.size) * wave.std() * NOISE_SHARE
    return (gain * (moved + noise)).astype(wave.dtype)


def tokens(ids: np.ndarray, rng: np.random.Generator, mask_id: int | None) -> np.ndarray:
    """[1, T]: the first and the last token stay, they are a tokenizer's own marks."""
    made = ids.copy().reshape(-1)
    inner = np.arange(1, made.size - 1)
    if not inner.size:
        return ids
    for place in inner[:-1][rng.random(max(0, inner.size - 1)) < SWAPPED_SHARE]:
        made[place], made[place + 1] = made[place + 1], made[place]
    hidden = inner[rng.random(inner.size) < MASKED_SHARE]
    if not hidden.size:
        hidden = inner[[int(rng.integers(0, inner.size))]]
    made[hidden] = mask_id if mask_id is not None else rng.choice(made, size=hidden.size)
    return made.reshape(ids.shape)
