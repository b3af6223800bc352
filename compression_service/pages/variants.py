"""The section of a model's page with its variants: a chart, a table of figures, and why others were not made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Min
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from compression_service.pages import chart
from compression_service.pages.family import Family, Line, family_of, variant_link
from compression_service.variants.models import SourceModel, Variant
from models_registry.accounts.policies import can_write
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.pages.templatetags.figures import fidelity, in_bytes, ms
from models_registry.repos.models import Repository

AXES = {
    "latency": ("p90 latency", lambda row: row.p90_ms, ms),
    "memory": ("Peak memory", lambda row: row.peak_memory_bytes, in_bytes),
    "size": ("Size of the files", lambda row: row.size_bytes, in_bytes),
}
_SIZES = {"wide": (760, 360), "narrow": (350, 330)}


def section(request: HttpRequest, repository: Repository) -> SafeString | None:
    family = family_of(request, repository)
    if family is None:
        return None
    return render_to_string("fit_pages/variants.html", context_of(request, repository, family), request)


def context_of(request: HttpRequest, repository: Repository, family: Family) -> dict[str, Any]:
    axis = request.GET.get("x", "latency")
    axis = axis if axis in AXES else "latency"
    return {
        "repository": repository,
        "own": repository_link(repository),
        "can_write": can_write(actor_of(request), repository),
        "family": family,
        "source": family.source,
        "lines": family.lines,
        "others": _groups(repository, family.others),
        "charts": _charts(family.lines, axis),
        "axis": axis,
        "axes": [(key, title, _link(request, x=key)) for key, (title, _, _) in AXES.items()],
        "threads": [
            (n, threads_text(n, family.thread_choices), _link(request, threads=n)) for n in family.thread_choices
        ],
        "threads_text": threads_text(family.threads, family.thread_choices),
    }


def note(repositories: Sequence[Repository]) -> dict[int, str]:
    """`6 variants from 109 KB` for the rows of a listing, by one query."""
    rows = SourceModel.objects.filter(
        repository__in=list(repositories), variants__status=Variant.Status.READY, status=SourceModel.Status.READY
    )
    found = {}
    for row in (
        rows.order_by("pk").values("repository").annotate(total=Count("variants"), least=Min("variants__size_bytes"))
    ):
        plural = "variant" if row["total"] == 1 else "variants"
        found[row["repository"]] = f"{row['total']} {plural} from {in_bytes(row['least'])}"
    return found


def _charts(lines: Sequence[Line], axis: str) -> dict[str, chart.Chart]:
    """The same chart for wide and for narrow screens, so that its words are never too small to read."""
    title, figure, text = AXES[axis]
    marks = []
    for line in lines:
        value = figure(line.footprint) if line.footprint else None
        if line.footprint is None or value is None or line.variant.fidelity is None:
            continue
        words = (
            f"{line.name}: {title.lower()} {text(value)}, fidelity {fidelity(line.variant.fidelity, line.inputs_count)}"
        )
        if line.beaten_by:
            words += f"; beaten by {', '.join(line.beaten_by)}"
        marks.append(chart.Mark(line.name, float(value), line.variant.fidelity, words, bool(line.beaten_by)))
    drawn = {key: chart.draw(marks, title, lambda value: _tick(text(value)), *size) for key, size in _SIZES.items()}
    return {key: one for key, one in drawn.items() if one is not None}


@dataclass
class Other:
    """Variants without figures which share a status and a reason: [(name, link to its page)]."""

    status: str
    label: str
    reason: str
    names: list[tuple[str, str]]


def _groups(repository: Repository, others: Sequence[Variant]) -> list[tuple[str, list[Other]]]:
    """Those on their way apart from those which nobody gets; those with the same reason together."""
    making: list[Other] = []
    ended: dict[tuple[str, str], Other] = {}
    for variant in others:
        named = (variant.name, variant_link(repository, variant.name))
        label = str(variant.get_status_display()).lower()
        if variant.status == Variant.Status.MAKING:
            making.append(Other(variant.status, label, variant.title, [named]))
        else:
            reason = variant.reason or variant.title
            kept = ended.setdefault((variant.status, reason), Other(variant.status, label, reason, []))
            kept.names.append(named)
    groups = (("Being made", making), ("Not to be pulled", list(ended.values())))
    return [(title, group) for title, group in groups if group]


def _tick(text: str) -> str:
    """`8.00 µs` measured is `8 µs` on an axis."""
    number, _, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def threads_text(threads: int, choices: Sequence[int]) -> str:
    if threads == 1:
        return "1 thread"
    return f"all {threads} cores" if threads == max(choices) else f"{threads} threads"


def _link(request: HttpRequest, **changes: Any) -> str:
    """This page with some parameters changed; without a path, because live progress puts this into the page too."""
    kept = ("threads", "x", "memory", "latency", "fidelity", "size")
    query = {key: request.GET[key] for key in kept if request.GET.get(key)} | changes
    return f"?{urlencode(query)}#variants"
