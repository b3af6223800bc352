"""The page on which a contributor chooses the data that calibrates and judges a model's variants."""

import re
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from compression_service.jobs.models import Job
from compression_service.linking import form, services
from compression_service.linking.models import Preview
from compression_service.linking.suggestions import Shape, shape_of, suggested
from compression_service.pages.family import Line, family_of
from compression_service.variants.models import SourceModel
from models_registry.cards.services import card_at
from models_registry.errors import BadRequest, HubError
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import signed_in
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import find_repository, require_write

_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,400000}={0,2}")
_NOT_FIELDS = ("act", "parent", "preview", "told", "csrfmiddlewaretoken")


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def data(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Which data it is now; choose, look at its rows, save. A refusal is shown above the form as it was filled in."""
    model = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    require_write(actor_of(request), model)
    problem, status = "", 200
    if request.method == "POST":
        try:
            return redirect(_act(request, model))
        except HubError as error:
            problem, status = error.message, error.status
    context = frame(request, model, "data") | _context(request, model)
    context["problem"] = problem or context["problem"]
    answer = render(request, "fit_pages/data.html", context, status=status)
    if context["waits"] and request.method == "GET":
        answer["Refresh"] = "2"  # works without scripts
    return answer


def _act(request: HttpRequest, model: Repository) -> str:
    """Do it; returns where to go then."""
    actor, given, act = actor_of(request), request.POST, request.POST.get("act", "")
    own = repository_link(model)
    if act == "look":
        fields = _fields_given(request)
        made = services.look_at(
            actor, model, given.get("dataset", ""), given.get("dataset_revision", ""), fields, given.get("parent", ""),
            told="told" in given,
        )  # fmt: skip
        return f"{own}/data?preview={made.pk}#rows"
    if act == "save":
        services.save_choice(actor, model, services.find_preview(actor, model, given.get("preview", "")))
        messages.success(request, "Saved in the card. The variants are made anew with this data.")
        return own
    if act == "drop":
        services.drop_choice(actor, model, given.get("parent", ""))
        messages.success(request, "The card chooses no dataset any more. The variants are made anew.")
        return own
    raise BadRequest("This form was not understood: load the page again.")


def _fields_given(request: HttpRequest) -> dict[str, str]:
    return {key: str(text) for key, text in request.POST.items() if key not in _NOT_FIELDS}


def _context(request: HttpRequest, model: Repository) -> dict[str, Any]:
    actor, head = actor_of(request), branch_head(model)
    card = card_at(model, head) if head else None
    given = request.POST if request.method == "POST" else request.GET
    preview, problem = _preview(request, model)
    if request.method == "POST" and given.get("act") == "look":
        fields = _fields_given(request)
    else:
        fields = form.fields_of(preview.block if preview else card.fithub if card else {})
    if request.method != "POST" and given.get("dataset"):
        fields |= {
            "dataset": given["dataset"], "dataset_revision": given.get("revision", ""),
            "dataset_config": given.get("config", ""),
        }  # fmt: skip
    context: dict[str, Any] = {
        "problem": problem,
        "head": head,
        "fields": fields,
        "preview": preview,
        "waits": preview is not None and preview.result is None,
        "has_choice": bool(card and set(card.fithub) - set(form.without_choice(card.fithub) or {})),
        "now": _now(request, model),
        "query": request.GET.get("q", ""),
        "told": preview.told if preview else "told" in given,
    }
    try:
        context["suggestions"] = suggested(actor, model, card, context["query"]) if card else []
    except HubError as error:  # a search which can not be asked
        context |= {"suggestions": [], "problem": problem or error.message}
    try:
        context["source"], _ = services.tried_on(model)
    except HubError as error:
        return context | {"nothing_yet": error.message}
    return context | _form(request, model, fields, context, given_name=bool(given.get("dataset")))


def _preview(request: HttpRequest, model: Repository) -> tuple[Preview | None, str]:
    """(the look which is asked for, a sentence why it is not shown)."""
    number = request.GET.get("preview") or request.POST.get("preview")
    if not number:
        return None, ""
    try:
        return services.find_preview(actor_of(request), model, number), ""
    except HubError as error:
        return None, error.message


def _form(
    request: HttpRequest, model: Repository, fields: dict[str, str], context: dict[str, Any], *, given_name: bool
) -> dict[str, Any]:
    """The second step: what of the chosen dataset feeds what."""
    name, configuration = fields.get("dataset", ""), fields.get("dataset_config", "")
    if not name:
        return {}
    try:
        dataset, commit = services.data_chosen(
            actor_of(request), model, name, fields.get("dataset_revision", ""), configuration
        )
    except HubError as error:
        return {"problem": context["problem"] or error.message}
    shape = shape_of(dataset, commit, configuration)
    source: SourceModel = context["source"]
    return {
        "dataset": dataset,
        "commit": commit,
        "shape": shape,
        "telling": services.must_be_told(model, dataset),
        "inputs": [
            (form.INPUT + spec["name"], spec, fields.get(form.INPUT + spec["name"], ""))
            for component in source.detail.get("components", [])
            for spec in component.get("inputs", [])
        ],
        "parts": [
            (part, title, fields.get(f"{part}.split", ""), fields.get(f"{part}.rows", ""))
            for part, title in zip(form.PARTS, ("Calibrates", "Judges"), strict=True)
        ],
        "splits": _splits(shape, fields),
        "metrics": _metrics(),
        "groups": [
            (title, [(field, fields.get(field.key, "")) for field in group], any(f.key in fields for f in group))
            for title, group in form.GROUPS
        ],
        "label": fields.get("label", ""),
        "labels": fields.get("labels", ""),
        "metric": fields.get("metric", ""),
        "options": fields.get("options", ""),
        "result": _shown(context["preview"]),
        "job": _job(context["preview"]),
    }


def _splits(shape: Shape, fields: dict[str, str]) -> list[str]:
    return sorted({*shape.splits, *(fields[f"{p}.split"] for p in form.PARTS if f"{p}.split" in fields)})


def _metrics() -> list[str]:
    from compression_service.engine.fidelity.metrics import METRICS

    return list(METRICS)


def _shown(preview: Preview | None) -> dict[str, Any] | None:
    """The result with pictures only where they are pictures: it was made beside untrusted files."""
    if preview is None or preview.result is None:
        return None
    result = dict(preview.result)
    for row in result.get("rows") or []:
        for given in row.get("inputs") or []:
            picture = given.get("picture")
            given["picture"] = picture if isinstance(picture, str) and _BASE64.fullmatch(picture) else None
            given["shape"] = " × ".join(map(str, given.get("shape") or []))
    return result


def _job(preview: Preview | None) -> Job | None:
    if preview is None or preview.result is not None:
        return None
    return Job.objects.filter(key=f"{services.PREVIEW}:{preview.pk}").first()


def _now(request: HttpRequest, model: Repository) -> dict[str, Any] | None:
    """What made and judged the variants which answer now."""
    family = family_of(request, model)
    if family is None:
        return None
    judged = next((line for line in family.lines if not line.is_baseline and line.variant.fidelity_inputs), None)
    variant = next((one for one in family.others if one.fidelity_inputs), None)
    line = judged or (Line(model, variant, None, [], None) if variant else None)
    newest = SourceModel.objects.filter(repository=model).order_by("-pk").first()
    return {
        "source": family.source,
        "line": line,
        "inputs": line.variant.fidelity_inputs if line else {},
        "making": newest if newest and newest.pk != family.source.pk and newest.status == "making" else None,
        "metric": family.metric_name,
    }
