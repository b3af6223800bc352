"""Log-mel spectrograms as Whisper takes them (Radford et al. 2022), by the figures of preprocessor_config.json.

Hann window, centred frames with reflected ends, power, Slaney's mel filters (Auditory Toolbox 1998), log10 down to 8
below the loudest, then (x + 4) / 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

RANGE_DECADES = 8.0


def log_mel(wave: np.ndarray, rate: int, config: dict[str, Any], dims: list[Any]) -> np.ndarray:
    """[mels, frames]; `dims` of the input [1, mels, frames] decides the number of frames where it is fixed."""
    mels, size, hop = (_whole(config.get(key), usual) for key, usual in
                       (("feature_size", 80), ("n_fft", 400), ("hop_length", 160)))  # fmt: skip
    frames = dims[2] if len(dims) == 3 and isinstance(dims[2], int) else _whole(config.get("nb_max_frames"), 0)
    frames = frames or max(1, wave.size // hop)
    length = frames * hop
    wave = wave[:length] if wave.size >= length else np.pad(wave, (0, length - wave.size))
    padded = np.pad(wave, size // 2, mode="reflect" if wave.size > size // 2 else "constant")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:frames]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = np.abs(np.fft.rfft(pieces * window, axis=1)) ** 2
    spectrum = np.log10(np.maximum(power @ filters(mels, size, rate), 1e-10)).T
    return (np.maximum(spectrum, spectrum.max() - RANGE_DECADES) + 4) / 4


def filters(mels: int, size: int, rate: int) -> np.ndarray:
    """[size/2 + 1, mels] triangles of equal area, from 0 to half of the rate."""
    centres = _hz(np.linspace(0, _mel(rate / 2), mels + 2))
    bins = np.arange(size // 2 + 1) * rate / size
    rise = (bins[:, None] - centres[None, :-2]) / np.diff(centres)[None, :-1]
    fall = (centres[None, 2:] - bins[:, None]) / np.diff(centres)[None, 1:]
    return np.asarray(np.maximum(0, np.minimum(rise, fall)) * 2 / (centres[2:] - centres[:-2])[None, :])


def _mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _hz(mel: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) / 27 * np.log(6.4))))


def _whole(value: Any, usual: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 20 else usual
