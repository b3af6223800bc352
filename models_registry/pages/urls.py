"""The site's routes. Fixed words come first: they can name no user (accounts/services.py RESERVED)."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from models_registry.pages.views import (
    account,
    buckets,
    collections,
    device,
    discussions,
    files,
    gate,
    history,
    home,
    likes,
    people,
    repository,
    settings,
    storage,
    tokens,
    webhooks,
)
from models_registry.repos.models import GIT_TYPES, RepoType


class NumberConverter(StringConverter):
    """A discussion's number: no zero in front, and none which no database holds."""

    regex = "[1-9][0-9]{0,8}"


class ActConverter(StringConverter):
    regex = "comment|title|status|pin|merge|update"


class ChangeConverter(StringConverter):
    regex = "edit|hide"


register_converter(NumberConverter, "number")
register_converter(ActConverter, "act")
register_converter(ChangeConverter, "change")

urlpatterns = [
    path("", home.home),
    path("models", home.listing, {"kind": RepoType.MODEL}),
    path("datasets", home.listing, {"kind": RepoType.DATASET}),
    path("login", account.login),
    path("logout", account.logout),
    path("new", account.new),
    path("settings/profile", people.own_profile),
    path("settings/follow", people.follow),
    path("settings/storage", storage.owner),
    path("organizations/<str:name>/storage", storage.owner),
    path("settings/tokens", tokens.tokens),
    path("settings/tokens/<int:token_id>/revoke", tokens.revoke),
    path("settings/tokens/<int:token_id>/renew", tokens.renew),
    path("settings/webhooks", webhooks.webhooks),
    path("settings/webhooks/<str:ident>", webhooks.webhook),
    path("settings/webhooks/<str:ident>/switch", webhooks.switch),
    path("settings/webhooks/<str:ident>/delete", webhooks.delete),
    path("settings/webhooks/<str:ident>/deliveries/<int:delivery_id>/again", webhooks.again),
    path("users/<str:username>/likes", likes.liked),
    path("collections", collections.collections),
    path("collections/new", collections.new),
    path("collections/add", collections.add),
    path("collections/<str:namespace>/<str:slug>", collections.collection),
    path("collections/<str:namespace>/<str:slug>/edit", collections.edit),
    path("collections/<str:namespace>/<str:slug>/delete", collections.delete),
    path("collections/<str:namespace>/<str:slug>/upvote", collections.upvote),
    path("collections/<str:namespace>/<str:slug>/items/<str:ident>", collections.item),
    path("buckets/<str:namespace>/<str:name>", buckets.bucket),
    path("buckets/<str:namespace>/<str:name>/tree/<path:path>", buckets.bucket),
    path("organizations/new", people.new_organization),
    path("organizations/<str:name>/members", people.members),
    path("organizations/<str:name>/members/set", people.set_member),
    path("organizations/<str:name>/members/remove", people.remove_member),
    path("organizations/<str:name>/profile", people.organization_profile),
    path("oauth/device", device.device),
    path("oauth/device/answer", device.answer),
]
for _kind in (RepoType.DATASET, RepoType.MODEL):
    _base = f"{_kind.url_prefix}<str:namespace>/<str:name>"
    _extra = {"kind": _kind}
    urlpatterns += [
        path(_base, repository.repository, _extra),
        path(f"{_base}/settings", settings.settings, _extra),
        path(f"{_base}/settings/storage", storage.repository, _extra),
        path(f"{_base}/settings/access", settings.access, _extra),
        path(f"{_base}/like", likes.like, _extra),
        path(f"{_base}/likers", likes.likers, _extra),
        path(f"{_base}/tree/<path:rest>", files.tree, _extra),
        path(f"{_base}/blob/<path:rest>", files.blob, _extra),
        path(f"{_base}/commits/<path:rest>", history.commits, _extra),
        path(f"{_base}/commit/<str:sha>", history.commit, _extra),
        path(f"{_base}/discussions", discussions.discussions, _extra),
        path(f"{_base}/discussions/new", discussions.new, _extra),
        path(f"{_base}/discussions/<number:num>", discussions.discussion, _extra),
        path(f"{_base}/discussions/<number:num>/files", discussions.changes, _extra),
        path(f"{_base}/discussions/<number:num>.diff", discussions.diff, _extra),
        path(f"{_base}/discussions/<number:num>/<act:what>", discussions.act, _extra),
        path(
            f"{_base}/discussions/<number:num>/comment/<str:comment>/<change:what>", discussions.act_on_comment, _extra
        ),
    ]
for _kind in GIT_TYPES:
    _base = f"{_kind.url_prefix}<str:namespace>/<str:name>"
    urlpatterns.append(path(f"{_base}/ask-access", gate.ask, {"kind": _kind}))
urlpatterns.append(path("<str:namespace>", home.namespace))
