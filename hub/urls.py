"""Every route of the site, each group in its room."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from compression_service.api import urls as fit_api
from compression_service.pages import urls as fit_pages
from hub.health import healthz
from models_registry.gitapi import urls as git_api
from models_registry.hfapi import urls as hf_api
from models_registry.pages import urls as site

urlpatterns = [
    path("healthz", healthz),
    path("api/schema", SpectacularAPIView.as_view()),
    re_path(r"^cas/(?:r[0-9a-f]+(?:-\d+){1,2}/)?", include("models_registry.xet.urls")),
    *fit_api.urlpatterns,
    *hf_api.urlpatterns,
    *git_api.urlpatterns,
    re_path(r"^api/.*$", hf_api.unknown),
    *fit_pages.urlpatterns,
    *site.urlpatterns,
    re_path(r"^[^/]+/(?:resolve|raw)/", hf_api.no_such_repository),
]
