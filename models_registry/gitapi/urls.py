"""Git's routes below every repository's address, with `.git` and without."""

from django.urls import path

from models_registry.gitapi import views
from models_registry.repos.models import GIT_TYPES

urlpatterns = []
for _kind in GIT_TYPES:
    for _suffix in (".git", ""):
        _base = f"{_kind.url_prefix}<str:namespace>/<str:name>{_suffix}"
        urlpatterns += [
            path(f"{_base}/info/refs", views.info_refs, {"kind": _kind}),
            path(f"{_base}/git-upload-pack", views.upload_pack, {"kind": _kind}),
            path(f"{_base}/git-receive-pack", views.receive_pack, {"kind": _kind}),
        ]
