"""The hub's page of the ledger, and a section on a model's page."""

from typing import Any

import yaml
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from compression_service.ledger.reading import inferences_in
from compression_service.ledger.services import Known, ModelLedger, ledger_of, ledger_of_hub
from compression_service.pages.family import family_of, variant_link
from models_registry.accounts.actors import Actor
from models_registry.pages.links import repository_link
from models_registry.repos.models import Repository

MODELS_SHOWN = 50


def section(request: HttpRequest, repository: Repository) -> SafeString | None:
    """None where no variant was made yet and nothing was moved."""
    family = family_of(request, repository)
    if family is None:
        return None
    made = [line.variant for line in family.lines]
    here = [row for variant in made for row in variant.footprints.all() if row.device.name == family.device]
    ledger = ledger_of(repository, Known(family.device, made, inferences_in(here)))
    if not ledger.entries and not ledger.totals.spent.jobs:
        return None
    return render_to_string("fit_pages/ledger_section.html", _context(repository, ledger), request)


def hub_context(actor: Actor) -> dict[str, Any]:
    ledger = ledger_of_hub(actor, MODELS_SHOWN)
    rows = [(row, repository_link(row.repository)) for row in ledger.rows]
    return {
        "ledger": ledger,
        "totals": ledger.totals,
        "stated": ledger.stated,
        "rows": rows,
        "sees_all": actor.is_superuser,
    }


def _context(repository: Repository, ledger: ModelLedger) -> dict[str, Any]:
    # What nobody recorded, pulled or measured fills no lines.
    entries = [
        one for one in ledger.entries if one.spent is not None or one.saving.cpu_ms is not None or one.pulls
    ]  # fmt: skip
    block = ledger.card_block
    return {
        "repository": repository,
        "ledger": ledger,
        "totals": ledger.totals,
        "stated": ledger.stated,
        "entries": [(one, variant_link(repository, one.variant.name)) for one in entries],
        "card_block": yaml.safe_dump({"co2_eq_emissions": block}, sort_keys=False, width=1000) if block else "",
    }
