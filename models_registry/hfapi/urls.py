"""The API's routes. What the hub does not know under /api/ is a JSON 404."""

import re

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, re_path, register_converter

from models_registry.errors import RepoNotFound
from models_registry.hfapi import (
    access,
    buckets,
    collections,
    discussions,
    extras,
    files,
    identity,
    info,
    lfs,
    lfs_admin,
    lifecycle,
    likes,
    oauth,
    repositories,
    storage,
    trees,
    uploads,
    users,
    webhooks,
)
from models_registry.repos.models import GIT_TYPES
from models_registry.xet.views import XetToken


class TypesConverter:
    regex = "models|datasets|spaces|kernels"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(TypesConverter, "types")


def no_such_repository(request: HttpRequest, **_: object) -> HttpResponse:
    """Old names of one word, such as `gpt2`: this hub has none, and clients must hear that as they know it."""
    actor = request.actor  # type: ignore[attr-defined]
    _ = actor.token  # a wrong token is told first
    raise RepoNotFound("Repository not found", status=401 if actor.is_anonymous else 404)


def unknown(request: HttpRequest, **_: object) -> HttpResponse:
    if _ONE_WORD.match(request.path):
        return no_such_repository(request)
    return JsonResponse({"error": f"This hub has no route {request.path[:200]}."}, status=404)


_REPO = "api/<types:types>/<str:namespace>/<str:name>"
_KINDS = "models|datasets|spaces|kernels"
_WORDS = (
    "branch|commit|commits|discussions|duplicate|lfs-files|like|likers|paths-info|preupload|refs|resolve|revision|settings|"
    "super-squash|tag|tree|user-access-request|xet-read-token|xet-write-token"
)
_ONE_WORD = re.compile(rf"/api/(?:{_KINDS})/[^/]+(?:/(?:{_WORDS})(?:/.*)?)?$")
_BUCKET = "api/buckets/<str:namespace>/<str:name>"
_COLLECTION = "api/collections/<str:namespace>/<str:slug>"
_DISCUSSION = (
    r"api/(?P<types>models|datasets|spaces|kernels)/(?P<namespace>[^/]+)/(?P<name>[^/]+)"
    r"/discussions/(?P<num>[1-9][0-9]{0,8})"
)
_OF_A_DISCUSSION = (
    ("", discussions.DiscussionDetails),
    ("/comment", discussions.Comment),
    (r"/comment/(?P<comment>[^/]+)/(?P<act>edit|hide)", discussions.CommentChange),
    ("/title", discussions.Title),
    ("/status", discussions.StatusChange),
    ("/pin", discussions.Pin),
    ("/merge", discussions.Merge),
    ("/update", discussions.Update),
)

urlpatterns = [
    path("api/whoami-v2", identity.WhoAmI.as_view()),
    path("api/agent-harnesses", extras.AgentHarnesses.as_view()),
    path("api/telemetry/<path:topic>", extras.telemetry),
    path("api/tasks", extras.Tasks.as_view()),
    path("oauth/token", oauth.Token.as_view()),
    path("api/users/<str:user>/overview", users.UserOverview.as_view()),
    path("api/users/<str:user>/followers", users.UserFollowers.as_view()),
    path("api/users/<str:user>/following", users.UserFollowing.as_view()),
    path("api/users/<str:user>/follow", users.UserFollow.as_view()),
    path("api/organizations/<str:organization>/overview", users.OrganizationOverview.as_view()),
    path("api/organizations/<str:organization>/members", users.OrganizationMembers.as_view()),
    path("api/organizations/<str:organization>/members/<str:user>", users.OrganizationMember.as_view()),
    path("api/organizations/<str:organization>/followers", users.OrganizationFollowers.as_view()),
    path("api/organizations/<str:organization>/follow", users.OrganizationFollow.as_view()),
    path("api/organizations/<str:organization>/settings/repositories", users.OwnRepositories.as_view()),
    path("api/settings/repositories", users.OwnRepositories.as_view()),
    path("api/repos/create", lifecycle.CreateRepo.as_view()),
    path("api/repos/delete", lifecycle.DeleteRepo.as_view()),
    path("api/repos/move", lifecycle.MoveRepo.as_view()),
    path("api/validate-yaml", uploads.ValidateYaml.as_view()),
    path("api/users/<str:username>/likes", likes.LikedRepos.as_view()),
    path("api/collections", collections.Collections.as_view()),
    path(_COLLECTION, collections.OneCollection.as_view()),
    path(f"{_COLLECTION}/items", collections.Items.as_view()),
    path(f"{_COLLECTION}/items/<str:ident>", collections.Item.as_view()),
    path(f"{_COLLECTION}/upvote", collections.Upvotes.as_view()),
    path("api/settings/webhooks", webhooks.Webhooks.as_view()),
    path("api/settings/webhooks/<str:ident>", webhooks.OneWebhook.as_view()),
    re_path(r"^api/settings/webhooks/(?P<ident>[^/]+)/(?P<wanted>enable|disable)$", webhooks.Switch.as_view()),
    path("api/<types:types>", info.RepoList.as_view()),
    re_path(r"^api/(?P<types>models|datasets|spaces|kernels)-tags-by-type$", info.TagsByType.as_view()),
    path("api/<types:types>/<str:namespace>/like", likes.LikeWithoutNamespace.as_view()),
    path(_REPO, info.RepoInfo.as_view()),
    path(f"{_REPO}/revision/<path:rest>", info.RepoInfo.as_view()),
    path(f"{_REPO}/settings", lifecycle.Settings.as_view()),
    path(f"{_REPO}/duplicate", lifecycle.DuplicateRepo.as_view()),
    path(f"{_REPO}/like", likes.Like.as_view()),
    path(f"{_REPO}/likers", likes.Likers.as_view()),
    path(f"{_REPO}/user-access-request/handle", access.HandleAccess.as_view()),
    path(f"{_REPO}/user-access-request/grant", access.GrantAccess.as_view()),
    path(f"{_REPO}/user-access-request/<str:status>", access.AccessRequests.as_view()),
    path(f"{_REPO}/auth-check", repositories.AuthCheck.as_view()),
    path(f"{_REPO}/auth-check/<str:right>", repositories.AuthCheck.as_view()),
    path(f"{_REPO}/tree/<path:rest>", trees.Tree.as_view()),
    path(f"{_REPO}/paths-info/<path:rest>", trees.PathsInfo.as_view()),
    path(f"{_REPO}/refs", trees.Refs.as_view()),
    path(f"{_REPO}/commits/<path:rest>", trees.Commits.as_view()),
    path(f"{_REPO}/super-squash/<path:rest>", lfs_admin.SuperSquash.as_view()),
    path(f"{_REPO}/lfs-files", lfs_admin.LfsFiles.as_view()),
    path(f"{_REPO}/lfs-files/batch", lfs_admin.LfsFilesBatch.as_view()),
    path(f"{_REPO}/lfs-files/duplicate", lfs_admin.LfsFilesDuplicate.as_view()),
    path(f"{_REPO}/preupload/<path:rest>", uploads.Preupload.as_view()),
    path(f"{_REPO}/commit/<path:rest>", uploads.Commit.as_view()),
    path(f"{_REPO}/branch/<path:branch>", repositories.Branch.as_view()),
    path(f"{_REPO}/tag/<path:revision>", repositories.Tag.as_view()),
    re_path(
        r"^api/(?P<types>models|datasets|spaces|kernels)/(?P<namespace>[^/]+)/(?P<name>[^/]+)"
        r"/xet-(?P<right>read|write)-token/(?P<rest>.+)$",
        XetToken.as_view(),
    ),
    *(re_path(rf"^{_DISCUSSION}{tail}$", view.as_view()) for tail, view in _OF_A_DISCUSSION),
    path(f"{_REPO}/discussions", discussions.Discussions.as_view()),
    path("api/storage/<str:namespace>", storage.OwnerStorage.as_view()),
    re_path(
        r"^api/(?P<types>models|datasets|spaces|kernels|buckets)/(?P<namespace>[^/]+)/(?P<name>[^/]+)/storage$",
        storage.RepositoryStorage.as_view(),
    ),
    path("api/buckets/<str:namespace>", buckets.Buckets.as_view()),
    path(_BUCKET, buckets.Bucket.as_view()),
    path(f"{_BUCKET}/settings", buckets.BucketSettings.as_view()),
    path(f"{_BUCKET}/tree", buckets.BucketTree.as_view()),
    path(f"{_BUCKET}/tree/<path:prefix>", buckets.BucketTree.as_view()),
    path(f"{_BUCKET}/paths-info", buckets.BucketPathsInfo.as_view()),
    path(f"{_BUCKET}/batch", buckets.BucketBatch.as_view()),
    re_path(
        r"^api/buckets/(?P<namespace>[^/]+)/(?P<name>[^/]+)/xet-(?P<right>read|write)-token$",
        buckets.BucketXetToken.as_view(),
    ),
    path("buckets/<str:namespace>/<str:name>/resolve/<path:path>", buckets.resolve),
    path("uploads", discussions.Uploads.as_view()),
    path("uploads/<str:name>", discussions.attachment),
    path("lfs/<str:signed>", lfs.transfer),
]
for _kind in GIT_TYPES:
    _base = f"{_kind.url_prefix}<str:namespace>/<str:name>"
    _extra = {"kind": _kind}
    urlpatterns += [
        path(f"{_base}.git/info/lfs/objects/batch", lfs.Batch.as_view(), _extra),
        path(f"{_base}/info/lfs/objects/batch", lfs.Batch.as_view(), _extra),
        path(f"{_base}.git/info/lfs/verify", lfs.Verify.as_view(), _extra),
        path(f"{_base}.git/info/lfs/locks", lfs.Locks.as_view(), _extra),
        path(f"{_base}.git/info/lfs/locks/<path:rest>", lfs.Locks.as_view(), _extra),
        path(f"{_base}/resolve/<path:rest>", files.resolve, _extra, name=f"resolve-{_kind.value}"),
        path(f"{_base}/raw/<path:rest>", files.raw, _extra),
    ]
