"""Create, delete, move, duplicate repositories, and change their settings (hub-protocol §2.2, §3 Duplicate)."""

import base64
import binascii
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.actors import Actor
from models_registry.cards.licenses import LICENSES
from models_registry.cards.services import refuse_bad_card
from models_registry.errors import BadRequest, Conflict, RepoNotFound
from models_registry.hfapi.base import HubView, endpoint, json_object, repo_url, text_field
from models_registry.repos import services
from models_registry.repos.commits import AddFile
from models_registry.repos.duplicating import duplicate_repository
from models_registry.repos.models import Gate, Repository, RepoType
from models_registry.repos.moving import move_repository

MAX_FIRST_FILES = 100
MAX_DESCRIPTION = 10_000
# What the Hub knows and this hub can not do: better refused than forgotten. A null says nothing, and is taken.
_NOT_HERE = {
    "resourceGroupId": "This hub has no resource groups: leave resourceGroupId out.",
    "region": "This hub keeps everything in one place: leave region out.",
    "template": "This hub has no templates of spaces: create the space without one and push its files.",
    "secrets": "This hub runs no spaces, so it keeps no secrets for them: leave secrets out.",
    "variables": "This hub runs no spaces, so it keeps no variables for them: leave variables out.",
    "volumes": "This hub runs no spaces, so it gives them no volumes: leave volumes out.",
    "storageTier": "This hub runs no spaces, so it gives them no storage: leave storageTier out.",
}
_NO_SETTING = {
    "discussionsSorting": "This hub sorts discussions by their number only: leave discussionsSorting out.",
    "gatedNotifications": "This hub sends no mail about access requests: look at their list, or leave this out.",
    "gatedNotificationsMode": "This hub sends no mail about access requests: look at their list, or leave this out.",
    "gatedNotificationsEmail": "This hub sends no mail about access requests: look at their list, or leave this out.",
}
_SETTINGS = ("private", "visibility", "gated", "description", "discussionsDisabled")


class CreateRepo(HubView):
    def post(self, request: Request) -> Response:
        """Create a repository. 409, with its `url`, when it is there already."""
        data = json_object(request)
        kind, owner, name = _named(data, self.actor.name)
        if not kind.has_history:
            raise BadRequest(f"A bucket is made by POST /api/buckets/{owner}/{name}.")
        _refuse_what_is_not_here(data, kind)
        files, sdk = _first_files(data, kind), data.get("sdk") or ""
        if not isinstance(sdk, str):
            raise BadRequest("The field 'sdk' must be a text.")
        try:
            repository = services.create_repository(
                self.actor, kind, name, owner, private=private_of(data, kind), sdk=sdk, files=files
            )
        except Conflict as error:
            text = f"You already created this {kind.value} repo"
            raise _conflict(self.actor, request, kind, error, text) from error
        return Response(_created(request, repository))


class DuplicateRepo(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Copy a repository's branches and tags, with their history, into a new repository."""
        source = self.repository(types, namespace, name)
        data = json_object(request)
        _refuse_what_is_not_here(data, source.kind)
        to = text_field(data, "repository", source.name)
        owner, _, new_name = to.rpartition("/")
        try:
            made = duplicate_repository(
                self.actor,
                source,
                new_name,
                owner or None,
                private=private_of(data, source.kind),
                hub=endpoint(request),
            )
        except Conflict as error:
            text = f"A {source.kind.value} repository called {to} already exists"
            raise _conflict(self.actor, request, source.kind, error, text) from error
        return Response(_created(request, made) | {"filesCopyPending": False})


class DeleteRepo(HubView):
    def delete(self, request: Request) -> Response:
        """Delete a repository and its history. A name which it had once is not enough."""
        kind, owner, name = _named(json_object(request), self.actor.name)
        services.delete_repository(self.actor, services.find_repository(self.actor, kind, f"{owner}/{name}"))
        return Response({})


class MoveRepo(HubView):
    def post(self, request: Request) -> Response:
        """Rename a repository, or hand it to another namespace. Its old name leads to it from now on."""
        data = json_object(request)
        kind = _kind(data)
        source, target = text_field(data, "fromRepo"), text_field(data, "toRepo")
        repository = services.find_repository(self.actor, kind, source, follow=True)
        moved = move_repository(self.actor, repository, target)
        return Response({"url": repo_url(request, moved), "name": moved.full_name})


class Settings(HubView):
    def put(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Change a repository's visibility, gate, description, and whether it has discussions."""
        repository = self.repository(types, namespace, name)
        data = {key: value for key, value in json_object(request).items() if value is not None}
        # Everything here is kept by Xet when it was pushed by Xet, so asking for it changes nothing.
        if data.pop("xetEnabled", True) is not True:
            raise BadRequest("This hub always takes pushes by Xet: leave xetEnabled out.")
        for key, sentence in _NO_SETTING.items():
            if key in data:
                raise BadRequest(sentence)
        if unknown := sorted(set(data) - set(_SETTINGS)):
            raise BadRequest(
                f"This hub does not know the settings {', '.join(unknown)[:200]}; it knows {', '.join(_SETTINGS)}."
            )
        disabled = data.get("discussionsDisabled")
        if disabled is not None and not isinstance(disabled, bool):
            raise BadRequest("The field 'discussionsDisabled' must be true or false.")
        services.update_settings(
            self.actor,
            repository,
            private=private_of(data, repository.kind),
            gated=_gated(data),
            description=_description(data),
            discussions_disabled=disabled,
        )
        return Response(
            {
                "private": repository.private,
                "gated": repository.gated or False,
                "description": repository.description,
                "discussionsDisabled": repository.discussions_disabled,
            }
        )


def _created(request: Request, repository: Repository) -> dict[str, Any]:
    return {"url": repo_url(request, repository), "name": repository.full_name, "id": f"{repository.pk:024x}"}


def _conflict(actor: Actor, request: Request, kind: RepoType, error: Conflict, text: str) -> Conflict:
    """The conflict with the body of a success: clients which take the repository as it is read its `url`."""
    full_name = error.body.get("name")
    if full_name is None:
        return error
    try:
        found = services.find_repository(actor, kind, full_name)
    except RepoNotFound:
        return Conflict(f"{full_name} is taken: choose another name.")
    return Conflict(text, _created(request, found))


def _kind(data: dict[str, Any]) -> RepoType:
    raw = data.get("type") or "model"
    if raw not in RepoType.values:
        raise BadRequest(f"A repository's type is one of {', '.join(RepoType.values)}, not {str(raw)[:40]!r}.")
    return RepoType(raw)


def _named(data: dict[str, Any], own: str) -> tuple[RepoType, str, str]:
    """(type, namespace, name) of the bodies of create and delete."""
    kind, name, organization = _kind(data), text_field(data, "name"), data.get("organization")
    if organization is not None and not isinstance(organization, str):
        raise BadRequest("The field 'organization' must be a text.")
    if "/" in name:
        organization, name = name.split("/", 1)
    return kind, organization or own, name


def private_of(data: dict[str, Any], kind: RepoType) -> bool | None:
    """Old clients send `private`, newer ones `visibility`."""
    visibility = data.get("visibility")
    if visibility == "protected":
        if kind is RepoType.SPACE:
            raise BadRequest(
                "A protected space shows its app and hides its files. This hub runs no apps, so that would be a "
                "private one: set visibility to private."
            )
        raise BadRequest("Only Spaces can be 'protected'. Please set visibility to 'public' or 'private'.")
    if visibility is not None:
        if visibility not in ("public", "private"):
            raise BadRequest(f"visibility is public or private, not {str(visibility)[:40]!r}.")
        return bool(visibility == "private")
    private = data.get("private")
    if private is not None and not isinstance(private, bool):
        raise BadRequest("The field 'private' must be true or false.")
    return private


def _gated(data: dict[str, Any]) -> str | None:
    gated = data.get("gated")
    if gated is None:
        return None
    if gated is False:
        return ""
    if gated not in Gate.values:
        raise BadRequest(f'gated is "auto", "manual" or false, not {str(gated)[:40]!r}.')
    return str(gated)


def _description(data: dict[str, Any]) -> str | None:
    if "description" not in data:
        return None
    text = text_field(data, "description").strip()
    if "\0" in text or len(text) > MAX_DESCRIPTION:
        raise BadRequest(f"A description is a text of at most {MAX_DESCRIPTION:,} characters without NUL.")
    return text


def _refuse_what_is_not_here(data: dict[str, Any], kind: RepoType) -> None:
    for key, sentence in _NOT_HERE.items():
        if data.get(key) not in (None, [], {}):
            raise BadRequest(sentence)
    if kind is RepoType.SPACE and data.get("hardware") not in (None, "cpu-basic"):
        raise BadRequest("This hub runs no spaces: create the space without hardware.")


def _first_files(data: dict[str, Any], kind: RepoType) -> list[AddFile]:
    """`files` and `license` of a creation, which go into its first commit."""
    rows, license_name = data.get("files") or [], data.get("license")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRequest("The field 'files' must be a list of objects {path, content, encoding}.")
    if len(rows) > MAX_FIRST_FILES:
        raise BadRequest(f"At most {MAX_FIRST_FILES} files come with a creation: commit the others after it.")
    files = [_first_file(row) for row in rows]
    for file in files:
        refuse_bad_card(file.path, file.content, kind)
    if license_name is not None:
        if license_name not in LICENSES:
            raise BadRequest(
                f"{str(license_name)[:60]!r} is no license that a card may name, such as mit or apache-2.0."
            )
        if not any(file.path == "README.md" for file in files):
            files.append(AddFile("README.md", f"---\nlicense: {license_name}\n---\n".encode()))
    return files


def _first_file(row: dict[str, Any]) -> AddFile:
    path, text, encoding = text_field(row, "path"), text_field(row, "content"), row.get("encoding", "utf-8")
    if encoding == "utf-8":
        return AddFile(path, text.encode())
    if encoding != "base64":
        raise BadRequest(f"The content of {path[:200]} must be base64 or utf-8, not {str(encoding)[:40]!r}.")
    try:
        return AddFile(path, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"The content of {path[:200]} is not valid base64.") from error
