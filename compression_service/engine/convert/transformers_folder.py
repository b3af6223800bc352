"""A transformers folder (config.json, safetensors, tokenizer) → ONNX, by torch's exporter.

The model class is read from config.json's "architectures"; a bare model gives features (last_hidden_state). Code that
comes with the folder is never run: trust_remote_code stays off. The exported graph is compared with torch's own outputs
on a few inputs, and the largest difference is kept as evidence.
"""

from __future__ import annotations

import json
import shutil
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine import runner
from compression_service.engine.convert import onnx_checks, safetensors_checks
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError, first_line

NAME = "transformers"
OPSET = 17
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LARGEST_DIFFERENCE = 1e-3
# Heads whose outputs are plain tensors; generation needs a cache between calls, which is not there yet.
HEADS = {
    "ForSequenceClassification": ("AutoModelForSequenceClassification", ["logits"]),
    "ForTokenClassification": ("AutoModelForTokenClassification", ["logits"]),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", ["start_logits", "end_logits"]),
    "ForMaskedLM": ("AutoModelForMaskedLM", ["logits"]),
    "ForMultipleChoice": ("AutoModelForMultipleChoice", ["logits"]),
    "ForImageClassification": ("AutoModelForImageClassification", ["logits"]),
}
GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def find(source: Path) -> Path | None:
    """The folder with config.json and *.safetensors nearest to the root, None when there is none."""
    folders = sorted({path.parent for path in source.rglob("config.json")}, key=lambda p: (len(p.parts), p))
    return next((folder for folder in folders if list(folder.glob("*.safetensors"))), None)


def convert(source: Path, folder: Path, out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any]]:
    """Export the folder to out/onnx/model.onnx; (components, evidence). Raises RefusedError with the reason."""
    progress(0.1, "Reading the transformers folder")
    config = _config(folder)
    weights = sorted(folder.glob("*.safetensors"))
    for path in weights:
        safetensors_checks.check(path, path.relative_to(source).as_posix())
    try:
        import torch
        import transformers
    except ImportError as error:
        raise RefusedError(
            "Converting a transformers folder needs the convert extra (make convert), which this worker does not have;"
            " push ONNX, or install it on the worker."
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    model, outputs = _loaded(transformers, folder, config)
    inputs = _example(torch, model, config, sequence=16, batch=2)
    target = out / "onnx" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    wrapped = _wrapped(torch, model, list(inputs), outputs)
    progress(0.3, "Exporting with torch")
    used = _exported(torch, wrapped, inputs, outputs, target)
    progress(0.5, "Comparing the export with torch")
    difference = _largest_difference(torch, model, wrapped, config, outputs, target)
    if not difference <= LARGEST_DIFFERENCE:
        raise RefusedError(
            f"The exported graph differs from torch by {difference:.2g}, so it is not published; push ONNX made by the"
            " model's own exporter."
        )
    evidence = {
        "exporter": used,
        "opset": OPSET,
        "model_class": type(model).__name__,
        "max_difference_to_torch": difference,
        "compared_inputs": 3,
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
    }
    checked = onnx_checks.checked_model(target, "onnx/model.onnx")
    data = onnx_checks.external_files(checked, target.parent)
    files = [f"onnx/{path.relative_to(target.parent).as_posix()}" for path in (target, *data)]
    shown = ", ".join(path.relative_to(source).as_posix() for path in weights)
    return [Component("model", shown, "onnx/model.onnx", checked, files)], evidence


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError("config.json is not readable JSON; push it again.") from error
    if not isinstance(config, dict) or not config.get("model_type"):
        raise RefusedError("config.json names no model_type, so transformers cannot build the network.")
    if config.get("auto_map"):
        raise RefusedError(
            "config.json asks for code of its own (auto_map), and pushed code is never run; push ONNX instead."
        )
    return config


def _loaded(transformers: Any, folder: Path, config: dict[str, Any]) -> tuple[Any, list[str]]:
    architecture = (config.get("architectures") or [""])[0]
    class_name, outputs = "AutoModel", ["last_hidden_state"]
    for ending, (auto_class, names) in HEADS.items():
        if architecture.endswith(ending):
            class_name, outputs = auto_class, names
    if config.get("is_encoder_decoder") or architecture.endswith(GENERATING):
        raise RefusedError(
            f"Conversion of generating models ({architecture or 'encoder-decoder'}) is not there yet; push ONNX."
        )
    try:
        model = getattr(transformers, class_name).from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False,
            attn_implementation="eager", dtype="float32",
        )  # fmt: skip
    except Exception as error:  # transformers raises whatever the folder leads it to
        raise RefusedError(f"transformers cannot load this folder: {first_line(error)}") from error
    return model.eval(), outputs


def _example(torch: Any, model: Any, config: dict[str, Any], sequence: int, batch: int) -> dict[str, Any]:
    """Inputs by keyword for one call: pixels for image models, tokens otherwise."""
    generator = torch.Generator().manual_seed(sequence)
    if model.main_input_name == "pixel_values":
        side = config.get("image_size") or 224
        shape = (batch, config.get("num_channels", 3), side, side)
        return {"pixel_values": torch.rand(shape, generator=generator)}
    if model.main_input_name != "input_ids":
        raise RefusedError(
            f"Conversion of models that take {model.main_input_name} is not there yet; push ONNX instead."
        )
    ids = torch.randint(0, config.get("vocab_size", 100), (batch, sequence), generator=generator)
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if config.get("type_vocab_size", 0) > 1:
        found["token_type_ids"] = torch.zeros_like(ids)
    return found


def _wrapped(torch: Any, model: Any, names: list[str], outputs: list[str]) -> Any:
    """The model as a function of positional tensors which gives a tuple: what the exporter traces."""

    class Wrapped(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            made = self.model(**dict(zip(names, tensors, strict=True)), return_dict=True)
            return tuple(made[name] for name in outputs)

    return Wrapped().eval()


def _exported(torch: Any, wrapped: Any, inputs: dict[str, Any], outputs: list[str], target: Path) -> str:
    """Write the graph; which exporter did it. The tracing one goes first: it needs no package beside torch."""
    axes = {name: {0: "batch", 1: "sequence"} if name in TEXT_INPUTS else {0: "batch"} for name in inputs}
    token_level = "input_ids" in inputs and outputs != ["logits"]
    axes.update({name: {0: "batch", 1: "sequence"} if token_level else {0: "batch"} for name in outputs})
    problems = []
    for dynamo in (False, True):
        options: dict[str, Any] = {"dynamo": dynamo, "opset_version": OPSET if not dynamo else 18}
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # the tracer warns of every Python number that it fixes
                torch.onnx.export(
                    wrapped, tuple(inputs.values()), str(target), input_names=list(inputs), output_names=outputs,
                    dynamic_axes=axes, do_constant_folding=True, **options,
                )  # fmt: skip
            return "torch.onnx (dynamo)" if dynamo else "torch.onnx (trace)"
        except Exception as error:  # torch raises many kinds; the other exporter may do
            problems.append(first_line(error, 160))
            shutil.rmtree(target.parent)
            target.parent.mkdir()
    raise RefusedError(f"torch cannot export this model to ONNX: {problems[0]}")


def _largest_difference(
    torch: Any, model: Any, wrapped: Any, config: dict[str, Any], outputs: list[str], target: Path
) -> float:
    """Over three shapes of inputs, other than the traced one."""
    opened, largest = runner.session(str(target)), 0.0
    for sequence, batch in ((7, 1), (24, 3), (48, 1)):
        inputs = _example(torch, model, config, sequence, batch)
        with torch.no_grad():
            expected = [tensor.numpy() for tensor in wrapped(*inputs.values())]
        found = opened.run(outputs, {name: tensor.numpy() for name, tensor in inputs.items()})
        for a, b in zip(expected, found, strict=True):
            if a.shape != b.shape:
                return float("inf")
            largest = max(largest, float(np.max(np.abs(a - b))))
    return largest
