"""How real weights become few bits: grids by squared error, and rounding which pushes each error into what is left.

Weights are W [K, N] for Y = X·W: K inputs, N outputs. A grid is one scale (and zero point) for `block` inputs of one
output. GPTQ: Frantar et al. 2022, arXiv 2210.17323 (Cholesky form, lazy blocks of columns). Two levels: a float scale
for each output times a small integer for each block, as in the k-quants of llama.cpp, so that the product of the
integers still is an int8 weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
DAMPING = 0.01
AT_ONCE = 1 << 22  # numbers of a large tensor which are worked on together
LAZY = 64  # columns whose updates are gathered before the rest of the matrix is touched


@dataclass
class Rounded:
    """codes [K, N] integers, scales [B, N] float32, zeros [B, N] integers or None: W ≈ (codes − zeros) · scales."""

    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray | None
    block: int

    def values(self) -> np.ndarray:
        """The weights which the codes stand for, float32 [K, N]."""
        rows = np.repeat(np.arange(len(self.scales)), self.block)[: len(self.codes)]
        centred = self.codes.astype(np.float32)
        if self.zeros is not None:
            centred = centred - self.zeros[rows]
        return centred * self.scales[rows]


def symmetric_int8(weights: np.ndarray, channels: tuple[int, ...], highest: int) -> tuple[np.ndarray, np.ndarray]:
    """(int8 of the same shape, float32 scales which broadcast against it), each index of the `channels` axes by itself.

    A few rows at a time: a table of embeddings may be a gigabyte.
    """
    shared = tuple(axis for axis in range(weights.ndim) if axis not in channels)
    largest = np.maximum(weights.max(shared, keepdims=True), -weights.min(shared, keepdims=True))
    scales = np.where(largest > 0, largest / highest, 1.0).astype(np.float32)
    integers = np.empty(weights.shape, np.int8)
    step = max(1, AT_ONCE // max(1, int(np.prod(weights.shape[1:]))))
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        part = weights[rows] / (scales[rows] if 0 in channels else scales)
        integers[rows] = np.clip(np.rint(part, out=part), -highest, highest, out=part)
    return integers, scales


def relative_error(weights: np.ndarray, approximation: np.ndarray, gram: np.ndarray | None) -> float:
    """‖X(W−Ŵ)‖² / ‖XW‖² by the Gram matrix of X; without one ‖W−Ŵ‖² / ‖W‖²."""
    if gram is None:
        lost = whole = 0.0
        step = max(1, AT_ONCE // max(1, int(np.prod(weights.shape[1:]))))
        for start in range(0, len(weights), step):  # a table of embeddings may be a gigabyte
            part = weights[start : start + step].astype(np.float64)
            lost += float(((part - approximation[start : start + step]) ** 2).sum())
            whole += float((part**2).sum())
    else:
        difference = (weights - approximation).astype(np.float64)
        lost = float((difference * (gram @ difference)).sum())
        whole = float((weights * (gram @ weights)).sum())
    return max(0.0, lost / whole) if whole > 0 else 0.0


def inverse_factor(gram: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """The upper Cholesky factor of (G + damping · mean(diag G) · I)⁻¹, float32 [K, K]; inputs never seen count as 1.

    Raises LinAlgError when even stronger damping does not make the matrix definite.
    """
    damped = gram.astype(np.float64).copy()
    diagonal = np.diag(damped).copy()
    dead = diagonal <= 0
    damped[dead, dead] = 1.0
    mean = float(diagonal[~dead].mean()) if (~dead).any() else 1.0
    for factor in (1, 10, 100):
        trial = damped.copy()
        trial[np.diag_indices(len(trial))] += factor * damping * mean
        try:
            return np.linalg.cholesky(np.linalg.inv(trial)).T.astype(np.float32)
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("The second moments of this layer's inputs are not definite.")


def grid(
    part: np.ndarray, importance: np.ndarray | None, bits: int, symmetric: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """(scale [N], zero [N] or None) for one block [g, N], the clip chosen by the (weighted) squared error."""
    low_code, high_code = code_range(bits, symmetric)
    weight = 1.0 if importance is None else importance[:, None]
    columns = np.arange(part.shape[1])
    best: np.ndarray | None = None
    scales = zeros = None
    for clip in CLIPS:
        if symmetric:
            # The largest weight takes the level which the other sign does not have.
            extreme = part[np.abs(part).argmax(0), columns]
            scale = np.where(extreme == 0, 1.0, clip * extreme / low_code).astype(np.float32)
            zero = None
            made = np.clip(np.rint(part / scale), low_code, high_code) * scale
        else:
            low, high = np.minimum(part.min(0), 0.0) * clip, np.maximum(part.max(0), 0.0) * clip
            scale = np.where(high > low, (high - low) / high_code, 1.0).astype(np.float32)
            zero = np.clip(np.rint(-low / scale), 0, high_code)
            made = (np.clip(np.rint(part / scale) + zero, 0, high_code) - zero) * scale
        error = (weight * (made - part) ** 2).sum(0)
        if best is None:
            best, scales, zeros = error, scale, zero
            continue
        better = error < best
        best = np.where(better, error, best)
        assert scales is not None
        scales = np.where(better, scale, scales)
        if zero is not None and zeros is not None:
            zeros = np.where(better, zero, zeros)
    assert scales is not None
    return scales.astype(np.float32), zeros


def code_range(bits: int, symmetric: bool) -> tuple[int, int]:
    """Lowest and highest code: −8…7 for four symmetric bits, 0…15 with a zero point."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)


def rounded(
    weights: np.ndarray, bits: int, block: int, gram: np.ndarray | None = None, symmetric: bool = True
) -> Rounded:
    """W [K, N] in blocks of `block` inputs: GPTQ where the Gram matrix of the inputs is given, else to nearest."""
    if gram is not None:
        try:
            return _compensated(weights, bits, block, gram, symmetric)
        except np.linalg.LinAlgError:
            gram = None  # to nearest is what is left; the caller sees its error
    inputs, outputs = weights.shape
    blocks = -(-inputs // block)
    low_code, high_code = code_range(bits, symmetric)
    codes = np.zeros((inputs, outputs), np.int16)
    scales = np.ones((blocks, outputs), np.float32)
    zeros = None if symmetric else np.zeros((blocks, outputs), np.int16)
    for index in range(blocks):
        rows = slice(index * block, min(inputs, (index + 1) * block))
        scale, zero = grid(weights[rows], None, bits, symmetric)
        shift = 0 if zero is None else zero
        codes[rows] = np.clip(np.rint(weights[rows] / scale) + shift, low_code, high_code)
        scales[index] = scale
        if zeros is not None and zero is not None:
            zeros[index] = zero
    return Rounded(codes, scales, zeros, block)


def _compensated(weights: np.ndarray, bits: int, block: int, gram: np.ndarray, symmetric: bool) -> Rounded:
    factor = inverse_factor(gram)
    importance = np.diag(gram).astype(np.float32)
    inputs, outputs = weights.shape
    left = weights.astype(np.float32).copy()
    low_code, high_code = code_range(bits, symmetric)
    codes = np.zeros((inputs, outputs), np.int16)
    scales = np.ones((-(-inputs // block), outputs), np.float32)
    zeros = None if symmetric else np.zeros_like(scales, np.int16)
    scale, zero = scales[0], None
    for start in range(0, inputs, LAZY):
        end = min(inputs, start + LAZY)
        errors = np.zeros((end - start, outputs), np.float32)
        for row in range(start, end):
            if row % block == 0:
                group = slice(row, min(inputs, row + block))
                part = left[group]
                if group.stop > end:  # what the lazy updates have not reached yet
                    part = part.copy()
                    part[end - row :] -= factor[start:row, end : group.stop].T @ errors[: row - start]
                scale, zero = grid(part, importance[group], bits, symmetric)
                scales[row // block] = scale
                if zeros is not None and zero is not None:
                    zeros[row // block] = zero
            shift = 0 if zero is None else zero
            code = np.clip(np.rint(left[row] / scale) + shift, low_code, high_code)
            codes[row] = code
            error = (left[row] - (code - shift) * scale) / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], error)
            errors[row - start] = error
        left[end:] -= factor[start:end, end:].T @ errors
    return Rounded(codes, scales, zeros, block)


@dataclass
class TwoLevel:
    """codes [K, N] −8…7 and factors [B, N] 1…18, whose products are the int8 weights."""

    codes: np.ndarray
    factors: np.ndarray
    block: int

    def integers(self) -> np.ndarray:
        """codes · factors as int8 [K, N]."""
        rows = np.repeat(np.arange(len(self.factors)), self.block)[: len(self.codes)]
        return (self.codes.astype(np.int16) * self.factors[rows]).astype(np.int8)


MOST_FACTOR = 18  # 7 · 18 = 126 reaches the ends of int8
LEAST_INT8 = -128


def two_level(integers: np.ndarray, block: int, gram: np.ndarray | None) -> TwoLevel:
    """int8 weights [K, N] as 4-bit codes times a small integer a block; errors compensated with a Gram matrix."""
    inputs, outputs = integers.shape
    factor = inverse_factor(gram) if gram is not None else np.eye(inputs, dtype=np.float32)
    importance = np.ones(inputs, np.float32) if gram is None else np.maximum(np.diag(gram), 1e-12).astype(np.float32)
    left = integers.astype(np.float32)
    codes = np.zeros((inputs, outputs), np.int8)
    factors = np.ones((-(-inputs // block), outputs), np.int8)
    for start in range(0, inputs, block):
        end = min(inputs, start + block)
        chosen = _block_factors(left[start:end], importance[start:end, None])
        factors[start // block] = chosen
        low = np.maximum(-8, np.ceil(LEAST_INT8 / chosen))
        errors = np.zeros((end - start, outputs), np.float32)
        for row in range(start, end):
            code = np.clip(np.rint(left[row] / chosen), low, 7)
            codes[row] = code
            error = (left[row] - code * chosen) / factor[row, row]
            errors[row - start] = error
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], error)
        left[end:] -= factor[start:end, end:].T @ errors
    return TwoLevel(codes, factors, block)


def _block_factors(part: np.ndarray, importance: np.ndarray) -> np.ndarray:
    top = np.clip(np.ceil(np.abs(part).max(0) / 7), 1, MOST_FACTOR)
    best = np.full(part.shape[1], np.inf)
    chosen = np.ones(part.shape[1])
    for step in range(7):
        trial = np.maximum(top - step, 1)
        low = np.maximum(-8, np.ceil(LEAST_INT8 / trial))
        error = (importance * (np.clip(np.rint(part / trial), low, 7) * trial - part) ** 2).sum(0)
        chosen = np.where(error < best, trial, chosen)
        best = np.minimum(best, error)
    return chosen.astype(np.float32)


def packed_nibbles(codes: np.ndarray) -> np.ndarray:
    """Two codes 0…15 of the last axis in one byte, the first in the low half; odd lengths get a 0."""
    codes = codes.astype(np.uint8)
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], -1)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)
