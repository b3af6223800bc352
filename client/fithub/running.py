"""One inference of a pulled variant, so that a newcomer sees an output."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from fithub import choosing, pulling
from fithub.errors import BadRequest, CannotRunHere
from fithub.machines import require_runtime

SHOWN_NUMBERS = 8
BEST = 5


def run(
    repo_id: str, *, input: str | None = None, variant: str | None = None, endpoint: str | None = None, **budget: Any
) -> dict[str, Any]:
    """{"variant", "commit", "ms", "inputs", "session_options", "outputs": {name: {"shape", "dtype", "first", …}}}.

    `input` is JSON ({"name": nested lists}), a .json, .npy or .npz file, or a text where the model has a tokenizer.
    Without it, inputs are made as the hub's record describes them, and the answer says so. Raises CannotRunHere.
    """
    require_runtime()
    import numpy as np
    import onnxruntime

    from fithub.measuring import options as session_options

    pulled = pulling.pull(repo_id, variant=variant, endpoint=endpoint, **budget)
    row = choosing.variants(repo_id, name=pulled.variant, endpoint=endpoint)
    if len(row["components"]) != 1:
        raise CannotRunHere(f"{repo_id} is a pipeline of {len(row['components'])} models: run it by its own program.")
    root = Path(pulled.folder)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    wanted = row["components"][0].get("session_options") or {}
    try:
        session_options.apply(options, wanted)
        path = str(root / row["components"][0]["path"])
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        fed, how = _fed(np, session, input, root, row)
        began = time.perf_counter()
        made = session.run(None, fed)
        spent_ms = (time.perf_counter() - began) * 1000
    except BadRequest:
        raise
    except Exception as error:  # onnxruntime raises its own kinds
        raise CannotRunHere(f"It does not run: {str(error).splitlines()[0][:300]}") from error
    labels = _labels(root)
    names = [output.name for output in session.get_outputs()]
    outputs = {name: _shown(np, array, labels) for name, array in zip(names, made, strict=True)}
    inputs = {
        name: {"shape": list(np.shape(array)), "dtype": str(np.asarray(array).dtype)} for name, array in fed.items()
    }
    return {
        "repository": repo_id, "variant": pulled.variant, "commit": pulled.commit, "ms": spent_ms, "input": how,
        "inputs": inputs, "outputs": outputs, "session_options": wanted,
    }  # fmt: skip


_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(bool)": "bool",
    "tensor(string)": "object",
}  # fmt: skip


def _fed(np: Any, session: Any, given: str | None, root: Path, row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    wanted = {value.name: value for value in session.get_inputs()}
    if given is None:
        return _made_up(row), "made up in the range of the hub's own inputs"
    found = _read(np, given, wanted, root)
    if missing := wanted.keys() - found.keys():
        raise BadRequest(f"The model also wants {', '.join(sorted(missing))}; its inputs are {_described(wanted)}.")
    if unknown := found.keys() - wanted.keys():
        raise BadRequest(f"The model has no input {sorted(unknown)[0][:80]!r}; its inputs are {_described(wanted)}.")
    try:
        return {name: np.asarray(found[name], _TYPES.get(wanted[name].type)) for name in wanted}, "given"
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"The input is no array of the right kind; its inputs are {_described(wanted)}.") from error


def _made_up(row: dict[str, Any]) -> dict[str, Any]:
    from fithub.measuring import feeds

    for footprint in choosing.by_trust(row["footprints"]):
        for shapes in (footprint.get("input_shapes") or {}).values():
            try:
                return dict(feeds.made_again(shapes, 1)[0])
            except feeds.FeedError:
                continue
    raise BadRequest("Nothing is known of its inputs yet: give some, as --input '{\"name\": [[…]]}'.")


def _read(np: Any, given: str, wanted: dict[str, Any], root: Path) -> dict[str, Any]:
    path = Path(given)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        if path.suffix == ".npy":
            return {next(iter(wanted)): np.load(path, allow_pickle=False)}
        text = path.read_text(encoding="utf-8") if path.suffix == ".json" else given
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BadRequest(f"{given[:100]} cannot be read as an input.") from error
    if text.lstrip().startswith(("{", "[")):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"--input is no valid JSON: {error}.") from error
        return data if isinstance(data, dict) else {next(iter(wanted)): data}
    return _tokens(np, text, wanted, root)


def _tokens(np: Any, text: str, wanted: dict[str, Any], root: Path) -> dict[str, Any]:
    if not (root / "tokenizer.json").is_file():
        raise BadRequest(f"The model has no tokenizer, so it takes no text; its inputs are {_described(wanted)}.")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise CannotRunHere("Texts need the package tokenizers: pip install tokenizers.") from error
    encoded = Tokenizer.from_file(str(root / "tokenizer.json")).encode(text)
    known = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
    return {name: np.asarray([known[name]]) for name in wanted if name in known}


def _described(wanted: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value.type} {value.shape}" for name, value in wanted.items())


def _labels(root: Path) -> dict[str, str]:
    try:
        found = json.loads((root / "config.json").read_text(encoding="utf-8")).get("id2label")
    except (OSError, ValueError, AttributeError):
        return {}
    return {str(key): str(label) for key, label in found.items()} if isinstance(found, dict) else {}


def _shown(np: Any, made: Any, labels: dict[str, str]) -> dict[str, Any]:
    if not isinstance(made, np.ndarray):
        return {"shape": [], "dtype": type(made).__name__, "first": str(made)[:300]}
    flat = made.ravel()
    shown = {"shape": list(made.shape), "dtype": str(made.dtype), "first": flat[:SHOWN_NUMBERS].tolist()}
    if made.dtype.kind == "f" and made.ndim == 2 and made.shape[0] == 1 and made.shape[1] > 1:
        order = np.argsort(made[0])[::-1][:BEST]
        shown["best"] = [{"class": int(at), "label": labels.get(str(at)), "value": float(made[0][at])} for at in order]
    return shown
