"""Pages about jobs and variants: they stand before the site's routes, which would take them for nothing they know."""

from django.urls import path

from compression_service.pages import data, views
from models_registry.repos.models import RepoType

urlpatterns = [
    path("ledger", views.hub_ledger),
    path("devices", views.devices),
    path("devices/<str:name>", views.device),
]
for _kind in (RepoType.DATASET, RepoType.MODEL):
    _base = f"{_kind.url_prefix}<str:namespace>/<str:name>"
    _extra = {"kind": _kind}
    urlpatterns += [
        path(f"{_base}/jobs", views.jobs, _extra),
        path(f"{_base}/jobs/<int:job_id>/cancel", views.cancel_job, _extra),
        *([path(f"{_base}/variants/<str:variant>", views.variant, _extra)] if _kind is RepoType.MODEL else []),
        *([path(f"{_base}/data", data.data, _extra)] if _kind is RepoType.MODEL else []),
        *([path(f"{_base}/budgets", views.budgets, _extra)] if _kind is RepoType.MODEL else []),
        path(f"{_base}/progress", views.live_progress, _extra),
    ]
