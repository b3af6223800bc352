"""A repository's tags as the Hub lists them, each with its group, and the further names by which filters find them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from models_registry.cards.metadata import TASKS, Card, infer_library, infer_pipeline_tag
from models_registry.repos.models import RepoType

MAX_TAGS = 500
TAG_MAX_CHARACTERS = 128
_DATASET_GROUPS = ("task_categories", "task_ids", "size_categories", "annotations_creators", "language_creators",
                   "multilinguality", "source_datasets", "modality", "format", "benchmark")  # fmt: skip
_FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".arrow": "arrow",
    ".txt": "text",
}  # fmt: skip


@dataclass(frozen=True)
class Tags:
    """`shown`: {tag: group} in the Hub's order. `hidden`: what filters also find it by, and nobody is shown."""

    shown: dict[str, str]
    hidden: frozenset[str]


def tags_of(card: Card, facts: dict[str, Any], kind: RepoType) -> Tags:
    """What card and files say, for a repository of this kind. At most 500 tags, none twice."""
    names = list(facts.get("endings", {}))
    rules = {RepoType.MODEL: _model, RepoType.DATASET: _dataset}.get(kind, _other)
    shown: dict[str, str] = {}
    for group, tag in rules(card, facts, names):
        if 0 < len(tag) <= TAG_MAX_CHARACTERS and len(shown) < MAX_TAGS:
            shown.setdefault(tag, group)
    hidden = {tag for tag in _hidden(card, facts, names, kind) if 0 < len(tag) <= TAG_MAX_CHARACTERS + 20} - set(shown)
    return Tags(shown, frozenset(sorted(hidden)[:MAX_TAGS]))


def hub_tags(card: Card, filenames: Iterable[str] = ()) -> list[str]:
    """A model's tags from its card and file names alone."""
    return list(tags_of(card, {"endings": dict.fromkeys(filenames, 1)}, RepoType.MODEL).shown)


def base_model_relation(card: Card, facts: dict[str, Any]) -> str:
    """How a model came from its base: what the card says, else what its files show (finetune where nothing tells)."""
    said = card.metadata.get("base_model_relation")
    if said in ("finetune", "adapter", "quantized", "merge"):
        return str(said)
    endings, config = facts.get("endings", {}), facts.get("config", {})
    if "adapter_config.json" in endings or infer_library(card, list(endings)) == "peft":
        return "adapter"
    if ".gguf" in endings or config.get("quantization_config"):
        return "quantized"
    return "merge" if "merge" in card.tags or len(card.base_models) > 1 else "finetune"


def _model(card: Card, facts: dict[str, Any], names: list[str]) -> Iterator[tuple[str, str]]:
    library = infer_library(card, names)
    if library:
        yield "library", library
    for tag, endings in _FORMAT_ENDINGS:
        if any(name.endswith(endings) for name in names):
            yield "library", tag
    kind = facts.get("config", {}).get("model_type")
    if isinstance(kind, str):
        yield "other", kind
    task = infer_pipeline_tag(card, names, facts.get("config"))
    if task:
        yield "pipeline_tag", task
    for tag in card.tags:
        yield ("pipeline_tag" if tag in TASKS else "other"), tag
    if facts.get("config", {}).get("auto_map"):
        yield "other", "custom_code"
    for language in card.languages:
        yield "language", language
    yield from (("dataset", f"dataset:{name}") for name in card.datasets)
    yield from (("arxiv", f"arxiv:{number}") for number in card.arxiv_ids)
    relation = base_model_relation(card, facts)
    for name in card.base_models:
        yield "base_model", f"base_model:{name}"
        yield "base_model", f"base_model:{relation}:{name}"
    yield from (("license", f"license:{name}") for name in card.licenses)
    if facts.get("eval_results"):
        yield "other", "eval-results"


def _dataset(card: Card, facts: dict[str, Any], names: list[str]) -> Iterator[tuple[str, str]]:
    for group in _DATASET_GROUPS:
        for value in texts(card.metadata.get(group)):
            yield group, f"{group}:{value}"
    yield from (("language", f"language:{name}") for name in card.languages)
    yield from (("license", f"license:{name}") for name in card.licenses)
    for ending, name in _FORMATS.items():
        if ending in names:
            yield "format", f"format:{name}"
    yield from (("arxiv", f"arxiv:{number}") for number in card.arxiv_ids)
    yield from (("other", tag) for tag in card.tags)


def _other(card: Card, facts: dict[str, Any], names: list[str]) -> Iterator[tuple[str, str]]:
    sdk = card.metadata.get("sdk")
    if isinstance(sdk, str):
        yield "sdk", sdk
    yield from (("other", tag) for tag in card.tags)
    yield from (("license", f"license:{name}") for name in card.licenses)


def _hidden(card: Card, facts: dict[str, Any], names: list[str], kind: RepoType) -> Iterator[str]:
    """`key:value` spellings of plain tags, and what a space uses."""
    if kind is RepoType.MODEL:
        yield from (f"language:{name}" for name in card.languages)
        if library := infer_library(card, names):
            yield f"library:{library}"
        if task := infer_pipeline_tag(card, names, facts.get("config")):
            yield f"pipeline_tag:{task}"
    if kind is RepoType.SPACE:
        yield from (f"model:{name}" for name in texts(card.metadata.get("models")))
        yield from (f"dataset:{name}" for name in card.datasets)


def texts(value: Any) -> list[str]:
    """A text or a list of texts, as a list."""
    return [item.strip() for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


_FORMAT_ENDINGS = (
    ("pytorch", ("pytorch_model.bin", "pytorch_model.bin.index.json", ".pt", ".pth")),
    ("tf", ("tf_model.h5",)),
    ("jax", ("flax_model.msgpack",)),
    ("onnx", (".onnx",)),
    ("safetensors", (".safetensors",)),
    ("gguf", (".gguf",)),
    ("tflite", (".tflite",)),
    ("openvino", ("openvino_model.xml",)),
    ("coreml", (".mlmodel", ".mlpackage")),
    ("keras", (".keras",)),
)
