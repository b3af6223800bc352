from django.urls import path

from compression_service.api import ledger, views
from models_registry.hfapi import urls as _registers_the_types_converter  # noqa: F401

_MODEL = "api/models/<str:namespace>/<str:name>"
_REPO = "api/<types:types>/<str:namespace>/<str:name>"

urlpatterns = [
    path("api/fit", views.AcrossView.as_view()),
    path("api/ledger", ledger.HubLedgerView.as_view()),
    path("api/devices", views.Devices.as_view()),
    path("api/recipes", views.Recipes.as_view()),
    path(f"{_MODEL}/variants", views.Variants.as_view()),
    path(f"{_MODEL}/variants/<str:variant>", views.VariantView.as_view()),
    path(f"{_MODEL}/measurements", views.Measurements.as_view()),
    path(f"{_MODEL}/ledger", ledger.ModelLedgerView.as_view()),
    path(f"{_MODEL}/budgets", views.SavedBudgets.as_view()),
    path(f"{_MODEL}/fit", views.FitView.as_view()),
    path(f"{_REPO}/jobs", views.Jobs.as_view()),
    path(f"{_REPO}/jobs/<int:job_id>", views.JobView.as_view()),
    path(f"{_REPO}/jobs/<int:job_id>/cancel", views.CancelJob.as_view()),
]
