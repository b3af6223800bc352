"""The section of a model's page which answers a budget, and says how to pull the answer."""

from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from compression_service.pages.family import Family, family_of
from compression_service.selection.budgets import Budget, BudgetError
from compression_service.selection.saved import saved_budgets
from compression_service.selection.services import answer_budget, bad_budget
from compression_service.variants.models import SourceModel
from models_registry.accounts.policies import can_save_budgets
from models_registry.errors import HubError
from models_registry.hfapi.base import endpoint
from models_registry.pages.links import at, repository_link
from models_registry.pages.places import actor_of
from models_registry.repos.models import Repository

# (key of the budget, label, what it limits, an example)
FIELDS = (
    ("memory", "Memory", "at most", "512MB"),
    ("latency", "Latency (p90)", "at most", "20ms"),
    ("size", "Size", "at most", "10MB"),
    ("fidelity", "Fidelity", "at least", "0.98"),
)


def section(request: HttpRequest, repository: Repository) -> SafeString | None:
    """None where there is no variant to choose from, and none is being made."""
    family = family_of(request, repository)
    if family is None or not (family.lines or family.source.status == SourceModel.Status.MAKING):
        return None
    context = _context(request, repository, family) if family.lines else {"is_waiting": True}
    return render_to_string("fit_pages/fit.html", context, request)


def _context(request: HttpRequest, repository: Repository, family: Family) -> dict[str, Any]:
    # People write "512 MB"; a budget has no spaces.
    given = {key: "".join(request.GET.get(key, "").split()) for key, *_ in FIELDS}
    asked = {key: value for key, value in given.items() if value}
    context: dict[str, Any] = {
        "repository": repository,
        "own": repository_link(repository),
        "fields": [(key, label, bound, example, given[key]) for key, label, bound, example in FIELDS],
        "hidden": [(key, request.GET[key]) for key in ("threads", "x") if request.GET.get(key)],
        "was_asked": bool(asked),
        "endpoint": endpoint(request),
    }
    place = {"threads": str(family.threads)} if family.threads != 1 else {}
    try:
        budget = Budget.from_query(asked | place)
        answer = answer_budget(repository, budget)
    except BudgetError as error:
        return context | {"problem": bad_budget(error).message}
    except HubError as error:
        return context | {"problem": error.message}
    line = family.line(answer.body["variant"])
    context |= {"fit": answer.body, "line": line, "revision": answer.body["revision"]}
    actor = actor_of(request)
    if not actor.is_anonymous and can_save_budgets(actor, repository):
        saved = saved_budgets(actor, repository)
        context |= {
            "can_save": True,
            "saved": saved,
            "is_saved": any(row.budget == answer.body["budget"] for row in saved),
        }
    if line is not None:
        paths = [component["path"] for component in line.variant.components] or [
            file["path"] for file in line.variant.files[:1]
        ]
        first = paths[0] if paths else ""
        context |= {
            "first_file": first,
            "first_name": first.rpartition("/")[2],
            "first_link": f"{endpoint(request)}{at(repository, 'resolve', budget.revision, first)}",
            "more_paths": len(line.variant.files) - 1,
            "answer_link": at(repository, "tree", line.variant.commit),
        }
    return context
