"""Texts as model inputs, through the repository's own tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

LONGEST_TEXT_TOKENS = 128
_MASKS = ("[MASK]", "<mask>", "[UNK]", "<unk>")


class TokenizerError(ValueError):
    """The tokenizer cannot be read; the message is the rest of a sentence."""


def tokenizer(path: Path) -> Any:
    """The library's tokenizer, without padding."""
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no kind of its own
        raise TokenizerError("the model's tokenizer.json cannot be read") from error
    loaded.no_padding()
    return loaded


def feeds(
    texts: list[Any], specs: list[dict[str, Any]], path: Path, longest: int | None = None
) -> list[dict[str, np.ndarray]]:
    """One feed of batch 1 for each text, or pair of texts. Fixed lengths are padded."""
    loaded = tokenizer(path)
    fixed = [dim for spec in specs for dim in (spec["shape"] or [])[1:2] if isinstance(dim, int)]
    loaded.enable_truncation(min([longest or LONGEST_TEXT_TOKENS, *fixed]))
    if fixed:
        pad = next((token for token in ("[PAD]", "<pad>") if loaded.token_to_id(token) is not None), None)
        loaded.enable_padding(length=fixed[0], **({"pad_token": pad, "pad_id": loaded.token_to_id(pad)} if pad else {}))
    made = []
    for encoded in loaded.encode_batch(texts):
        known = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
            "position_ids": list(range(len(encoded.ids))),
        }
        feed = {}
        for spec in specs:
            if spec["name"] not in known:
                raise TokenizerError(f"no column feeds the input {spec['name']}")
            feed[spec["name"]] = np.asarray([known[spec["name"]]], np.dtype(spec["dtype"]))
        made.append(feed)
    return made


def mask_id(path: Path | None) -> int | None:
    """The id which stands for a hidden token; None where the tokenizer has none."""
    if path is None:
        return None
    loaded = tokenizer(path)
    return next((number for token in _MASKS if (number := loaded.token_to_id(token)) is not None), None)
