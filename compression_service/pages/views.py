"""Jobs of a repository: the list, live progress, cancel. And the page of a variant."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from compression_service.jobs.services import cancel, find_job, jobs_of
from compression_service.pages import devices as device_pages
from compression_service.pages import fit, progress, variants
from compression_service.pages import ledger as ledger_page
from compression_service.pages import variant as variant_page
from compression_service.selection.saved import drop_budget, save_budget
from compression_service.variants.services import catalogue_version
from models_registry.accounts.policies import can_write
from models_registry.errors import Conflict
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import signed_in
from models_registry.repos.models import RepoType
from models_registry.repos.services import find_repository

JOBS_A_PAGE = 40


@require_safe
def jobs(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Everything that the hub did for a repository, newest first."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    page = Paginator(jobs_of(repository), JOBS_A_PAGE).get_page(request.GET.get("page"))
    context = frame(request, repository, "jobs") | {
        "job_pages": page,
        "rows": progress.titled(list(page.object_list)),
        "can_write": can_write(actor_of(request), repository),
    }
    return render(request, "fit_pages/jobs.html", context)


@require_safe
def variant(request: HttpRequest, kind: RepoType, namespace: str, name: str, variant: str) -> HttpResponse:
    """One variant: why it is what it is."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    context = frame(request, repository, "variant") | variant_page.context_of(request, repository, variant)
    return render(request, "fit_pages/variant.html", context)


@require_safe
def hub_ledger(request: HttpRequest) -> HttpResponse:
    """What compressing cost this hub, and what it saves."""
    return render(request, "fit_pages/ledger.html", {"nav": "ledger"} | ledger_page.hub_context(actor_of(request)))


@require_safe
def devices(request: HttpRequest) -> HttpResponse:
    """The devices which a budget can name."""
    return render(request, "fit_pages/devices.html", device_pages.list_context())


@require_safe
def device(request: HttpRequest, name: str) -> HttpResponse:
    """One device: its profile, each figure with its source, and the newest records from there."""
    return render(request, "fit_pages/device.html", device_pages.device_context(actor_of(request), name))


@never_cache
@require_safe
def live_progress(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """The strip of open jobs, asked for every 2 s while there are any; with what has changed meanwhile on the page."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    context = progress.context_of(request, repository)
    if kind is RepoType.DATASET and not context["open"]:
        # The rows are there: the whole page is asked for again.
        return HttpResponse(headers={"HX-Refresh": "true"})
    parts = [render_to_string("fit_pages/progress.html", context, request)]
    if kind is RepoType.MODEL and request.GET.get("v") != str(catalogue_version(repository)):
        found = [("fit", fit.section(request, repository)), ("variants", variants.section(request, repository))]
        for name_, html in found:
            if html is not None:
                parts.append(render_to_string("fit_pages/swapped.html", {"name": name_, "html": html}))
    return HttpResponse("\n".join(parts))


@signed_in
@require_POST
def budgets(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Save a budget on a model, or (`drop`) take it away; then show the model again."""
    actor = actor_of(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    budget = request.POST.get("budget", "")
    if request.POST.get("drop"):
        drop_budget(actor, repository, budget)
        messages.success(request, "The saved budget is taken away.")
    else:
        save_budget(actor, repository, budget)
        messages.success(request, "Saved. Your webhooks which watch this model are told when its answer changes.")
    return redirect(f"{repository_link(repository)}#fit")


@require_POST
def cancel_job(request: HttpRequest, kind: RepoType, namespace: str, name: str, job_id: int) -> HttpResponse:
    """Stop a job, then show the repository again."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    job = find_job(repository, job_id)
    try:
        cancel(actor_of(request), job)
        messages.success(request, "The job is told to stop; that takes a few seconds when it is running.")
    except Conflict as error:
        messages.warning(request, error.message)
    return redirect(repository_link(repository))
