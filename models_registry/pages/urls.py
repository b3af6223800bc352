"""The site's routes. Fixed words come first: they can name no user (accounts/services.py RESERVED)."""

from django.urls import path

from models_registry.pages.views import account, files, history, home, repository
from models_registry.repos.models import RepoType

urlpatterns = [
    path("", home.home),
    path("models", home.listing, {"kind": RepoType.MODEL}),
    path("datasets", home.listing, {"kind": RepoType.DATASET}),
    path("login", account.login),
    path("logout", account.logout),
    path("new", account.new),
    path("settings/tokens", account.tokens),
    path("settings/tokens/<int:token_id>/revoke", account.revoke),
]
for _kind in (RepoType.DATASET, RepoType.MODEL):
    _base = f"{_kind.url_prefix}<str:namespace>/<str:name>"
    _extra = {"kind": _kind}
    urlpatterns += [
        path(_base, repository.repository, _extra),
        path(f"{_base}/tree/<path:rest>", files.tree, _extra),
        path(f"{_base}/blob/<path:rest>", files.blob, _extra),
        path(f"{_base}/commits/<path:rest>", history.commits, _extra),
        path(f"{_base}/commit/<str:sha>", history.commit, _extra),
    ]
urlpatterns.append(path("<str:namespace>", home.namespace))
