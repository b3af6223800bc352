"""The page of one variant: what was done to which layer, its figures, its files, and how to make it again."""

import json
from typing import Any

from django.http import HttpRequest

from compression_service.devices.energy import energy_of
from compression_service.pages.family import Family, Line, family_of
from compression_service.pages.passes import passes_of
from compression_service.pages.variants import threads_text
from compression_service.variants.models import Variant
from compression_service.variants.services import PROVENANCE
from models_registry.accounts.policies import can_write
from models_registry.errors import NotFound
from models_registry.hfapi.base import endpoint
from models_registry.pages.links import at
from models_registry.pages.places import actor_of
from models_registry.repos.models import Repository


def context_of(request: HttpRequest, repository: Repository, name: str) -> dict[str, Any]:
    """Raises NotFound."""
    family = family_of(request, repository)
    variant = Variant.objects.filter(source=family.source, name=name).first() if family else None
    if family is None or variant is None:
        raise NotFound(f"There is no variant {name[:80]!r} of this model.")
    variant.source, line = family.source, family.line(variant.name)
    context: dict[str, Any] = {
        "can_write": can_write(actor_of(request), repository),
        "family": family,
        "source": family.source,
        "variant": variant,
        "line": line,
        "judged": line or Line(repository, variant, None, [], None),
        "why": variant.definition.get("why", ""),
        "passes": passes_of(variant.passes),
        "wish": _wish(family, variant),
        "threads_text": threads_text(family.threads, family.thread_choices),
        "inputs": variant.fidelity_inputs,
        "places": [
            (row, *energy_of(row.record, row.device))
            for row in variant.footprints.select_related("device").order_by("-trust", "device__name", "threads")
        ],
        "source_link": at(repository, "tree", family.source.commit),
    }
    if variant.commit:
        context |= _pulling(request, repository, variant)
    return context | _made_by(variant)


def _wish(family: Family, variant: Variant) -> str:
    """What the card said of this recipe."""
    wishes = family.source.detail.get("wishes") or {}
    return "pinned by the card" if variant.name in wishes.get("pin", ()) else ""


def _pulling(request: HttpRequest, repository: Repository, variant: Variant) -> dict[str, Any]:
    files = [file | {"link": at(repository, "resolve", variant.commit, file["path"])} for file in variant.files]
    first = next((file for file in files if file["path"].endswith(".onnx")), files[0] if files else None)
    return {
        "files": files,
        "first": first,
        "first_name": first["path"].rpartition("/")[2] if first else "",
        "endpoint": endpoint(request),
        "session_options": [
            (one["path"], _lines(one["session_options"])) for one in variant.components if one.get("session_options")
        ],
        "tree_link": at(repository, "tree", variant.ref),
        "statement_link": at(repository, "blob", variant.commit, PROVENANCE),
    }


def _lines(wanted: dict[str, Any]) -> list[str]:
    """Session options as the lines of Python which set them."""
    return [
        f'options.add_session_config_entry("{name}", "{value}")' if "." in name else f"options.{name} = {value}"
        for name, value in wanted.items()
    ]


def _made_by(variant: Variant) -> dict[str, Any]:
    provenance = variant.provenance
    return {
        "definition": json.dumps(variant.definition, indent=2, ensure_ascii=False) if variant.definition else "",
        "versions": sorted((provenance.get("versions") or {}).items()),
        "seed": provenance.get("seed"),
    }
