"""Every field which this hub can tell of a repository (hub-protocol §2.3), for one or for a page of them.

A field is worked out only when it is asked for; what needs other rows is gathered for all repositories of the answer at
once. Where nothing is known a field is null or empty: no figure is made up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import readable_by
from models_registry.cards.metadata import Card
from models_registry.cards.tags import texts
from models_registry.hfapi.base import moment
from models_registry.repos.entries import Entry, paths_of
from models_registry.repos.models import Repository, RepositoryTag, RepoType
from models_registry.repos.revisions import heads_of
from models_registry.scanning.services import security_of
from models_registry.search import trending
from models_registry.search.models import TagUse

_COMMON = "author cardData createdAt disabled downloads downloadsAllTime gated lastModified likes private resourceGroup sha siblings tags trendingScore usedStorage"  # noqa: E501
EXPANDS = {
    RepoType.MODEL: f"{_COMMON} baseModels childrenModelCount config evalResults gguf inference inferenceProviderMapping library_name mask_token model-index pipeline_tag safetensors spaces transformersInfo widgetData",  # noqa: E501
    RepoType.DATASET: f"{_COMMON} citation description mainSize paperswithcode_id",
    # a space has no downloads and no gate: exactly the words which the client knows
    RepoType.SPACE: "author cardData createdAt datasets disabled lastModified likes models private region resourceGroup runtime sdk sha siblings subdomain tags trendingScore usedStorage",  # noqa: E501
    RepoType.KERNEL: _COMMON,
}
# Of the answer without `expand`.
DEFAULTS = {
    RepoType.MODEL: "author sha lastModified createdAt private gated disabled downloads likes library_name tags pipeline_tag mask_token config cardData model-index widgetData transformersInfo safetensors gguf spaces usedStorage inference siblings",  # noqa: E501
    RepoType.DATASET: "author sha lastModified createdAt private gated disabled downloads likes tags cardData description citation paperswithcode_id siblings mainSize usedStorage",  # noqa: E501
    RepoType.SPACE: "author sha lastModified createdAt private gated disabled likes tags cardData sdk subdomain host runtime models datasets siblings usedStorage",  # noqa: E501
    RepoType.KERNEL: "author sha lastModified createdAt private gated disabled downloads likes tags cardData siblings usedStorage",  # noqa: E501
}
MAX_SPACES = 100
# The columns which only some fields show: a listing does not read them for nothing.
COLUMNS = {
    "card": {
        "cardData", "model-index", "widgetData", "baseModels", "citation", "paperswithcode_id", "models", "datasets",
        "mask_token",
    },
    "file_facts": {"config", "safetensors", "gguf", "evalResults", "transformersInfo", "mask_token"},
    "summary": {"description"},
    "description": {"description"},
}  # fmt: skip
_AUTO_MODELS = (
    ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    ("ForTokenClassification", "AutoModelForTokenClassification"),
    ("ForQuestionAnswering", "AutoModelForQuestionAnswering"),
    ("ForMaskedLM", "AutoModelForMaskedLM"),
    ("ForCausalLM", "AutoModelForCausalLM"),
    ("LMHeadModel", "AutoModelForCausalLM"),
    ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    ("ForImageClassification", "AutoModelForImageClassification"),
    ("ForObjectDetection", "AutoModelForObjectDetection"),
    ("ForSemanticSegmentation", "AutoModelForSemanticSegmentation"),
    ("ForAudioClassification", "AutoModelForAudioClassification"),
    ("ForCTC", "AutoModelForCTC"),
)


@dataclass
class Known:
    """What other rows say of the repositories of one answer, by their ids."""

    shas: dict[int, str] = field(default_factory=dict)
    entries: dict[int, Sequence[Entry]] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, list[str]] = field(default_factory=dict)
    blobs: bool = False


def unread_columns(keys: Iterable[str]) -> list[str]:
    wanted = set(keys)
    return [column for column, fields in COLUMNS.items() if not fields & wanted]


def gather(actor: Actor, rows: Sequence[Repository], keys: Iterable[str], known: Known | None = None) -> Known:
    """What these fields of these repositories need, by one query a kind of row. `known` may bring shas and entries."""
    known, wanted = known or Known(), set(keys)
    missing = [row.pk for row in rows if row.pk not in known.shas]
    if missing and wanted & {"sha", "siblings"}:
        known.shas |= heads_of(missing)
    if "siblings" in wanted:
        unread = {row.pk: known.shas[row.pk] for row in rows if row.pk not in known.entries and row.pk in known.shas}
        known.entries.update(paths_of(unread))
    if "childrenModelCount" in wanted:
        uses = TagUse.objects.filter(type=RepoType.MODEL, tag__in=[f"base_model:{row.full_name}" for row in rows])
        known.children = dict(uses.values_list("tag", "uses"))
    if "spaces" in wanted and rows and rows[0].kind is RepoType.MODEL:
        used = RepositoryTag.objects.filter(tag__in=[f"model:{row.full_name}" for row in rows])
        found = used.filter(readable_by(actor, "repository__")).order_by("tag", "repository_id")
        for tag, name in found.values_list("tag", "repository__full_name")[: MAX_SPACES * len(rows)]:
            known.spaces.setdefault(tag, []).append(name)
    return known


def identity(repository: Repository) -> dict[str, Any]:
    ident: dict[str, Any] = {"_id": f"{repository.pk:024x}", "id": repository.full_name}
    if repository.type == RepoType.MODEL:
        ident["modelId"] = repository.full_name
    return ident


def show(repository: Repository, keys: Iterable[str], known: Known) -> dict[str, Any]:
    """The repository with these fields, in their order."""
    return identity(repository) | {key: FIELDS[key](repository, known) for key in keys}


def _base_models(repository: Repository, known: Known) -> list[str]:
    return Card(repository.card).base_models


def _mask_token(repository: Repository, known: Known) -> str | None:
    said = repository.card.get("mask_token")
    if isinstance(said, str):
        return said
    token = repository.file_facts.get("config", {}).get("tokenizer_config", {}).get("mask_token")
    return token if isinstance(token, str) else None


def _transformers_info(repository: Repository, known: Known) -> dict[str, Any] | None:
    config = repository.file_facts.get("config", {})
    architectures = texts(config.get("architectures"))
    if repository.library_name != "transformers" or not (architectures or config.get("model_type")):
        return None
    named = architectures[0] if architectures else ""
    info = {"auto_model": next((auto for ending, auto in _AUTO_MODELS if named.endswith(ending)), "AutoModel")}
    custom = config.get("auto_map")
    if isinstance(custom, dict) and isinstance(custom.get(info["auto_model"]), str):
        info["custom_class"] = custom[info["auto_model"]]
    if repository.pipeline_tag:
        info["pipeline_tag"] = repository.pipeline_tag
    if config.get("tokenizer_config"):
        info["processor"] = "AutoTokenizer"
    return info


def _children(repository: Repository, known: Known) -> int:
    """Public models whose card names this one as a base."""
    return known.children.get(f"base_model:{repository.full_name}", 0)


def _runtime(repository: Repository, known: Known) -> dict[str, Any]:
    """Spaces are kept here, and never run."""
    return {"stage": "STOPPED", "hardware": {"current": None, "requested": None}, "storage": None, "replicas": None}


def _siblings(repository: Repository, known: Known) -> list[dict[str, Any]]:
    entries = known.entries.get(repository.pk, ())
    if not known.blobs:
        return [{"rfilename": entry.path} for entry in entries if not entry.is_folder]
    rows = []
    for entry in entries:
        if entry.is_folder:
            continue
        row: dict[str, Any] = {"rfilename": entry.path, "size": entry.size_bytes, "blobId": entry.oid}
        if entry.sha256:
            row["lfs"] = {"sha256": entry.sha256, "size": entry.size_bytes, "pointerSize": entry.pointer_bytes}
        rows.append(row)
    return rows


def _fact(name: str) -> Callable[[Repository, Known], Any]:
    return lambda repository, known: repository.file_facts.get(name)


def _said(name: str, default: Any = None) -> Callable[[Repository, Known], Any]:
    return lambda repository, known: repository.card.get(name, default)


def _nothing(repository: Repository, known: Known) -> None:
    return None


FIELDS: dict[str, Callable[[Repository, Known], Any]] = {
    "author": lambda repository, known: repository.full_name.partition("/")[0],
    "sha": lambda repository, known: known.shas.get(repository.pk),
    "lastModified": lambda repository, known: moment(repository.last_modified),
    "createdAt": lambda repository, known: moment(repository.created_at),
    "private": lambda repository, known: repository.private,
    "gated": lambda repository, known: repository.gated or False,
    "disabled": lambda repository, known: False,
    # Every download there ever was: this hub keeps no count by day.
    "downloads": lambda repository, known: repository.downloads,
    "downloadsAllTime": lambda repository, known: repository.downloads,
    "likes": lambda repository, known: repository.likes,
    "trendingScore": lambda repository, known: trending.score(repository.trending),
    "tags": lambda repository, known: repository.tags,
    "cardData": lambda repository, known: repository.card,
    "resourceGroup": _nothing,
    "usedStorage": lambda repository, known: repository.used_storage_bytes,
    "siblings": _siblings,
    "securityRepoStatus": lambda repository, known: security_of(known.entries.get(repository.pk, ())),
    # models
    "library_name": lambda repository, known: repository.library_name or None,
    "pipeline_tag": lambda repository, known: repository.pipeline_tag or None,
    "config": lambda repository, known: repository.file_facts.get("config", {}),
    "transformersInfo": _transformers_info,
    "mask_token": _mask_token,
    "model-index": _said("model-index"),
    "widgetData": _said("widget", []),
    "safetensors": _fact("safetensors"),
    "gguf": _fact("gguf"),
    "evalResults": lambda repository, known: repository.file_facts.get("eval_results", []),
    "baseModels": _base_models,
    "childrenModelCount": _children,
    "spaces": lambda repository, known: known.spaces.get(f"model:{repository.full_name}", [])[:MAX_SPACES],
    "inference": _nothing,
    "inferenceProviderMapping": lambda repository, known: [],
    # datasets
    "description": lambda repository, known: repository.description or repository.summary,
    "citation": _said("citation"),
    "paperswithcode_id": _said("paperswithcode_id"),
    "mainSize": lambda repository, known: repository.main_size_bytes,
    # spaces
    "sdk": lambda repository, known: repository.sdk or None,
    "subdomain": lambda repository, known: repository.full_name.replace("/", "-").replace(".", "-").lower(),
    "host": _nothing,
    "region": _nothing,
    "runtime": _runtime,
    "models": lambda repository, known: texts(repository.card.get("models")),
    "datasets": lambda repository, known: Card(repository.card).datasets,
}
