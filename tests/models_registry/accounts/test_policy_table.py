"""Every act × everyone × visibility, as real calls through the API, against the table; and the docs which show it."""

import os
from pathlib import Path

import pytest
from django.db import transaction
from django.test import Client

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken, Membership, User
from models_registry.accounts.services import create_organization
from models_registry.accounts.tokens import FineGrained, create_token, scope_of_text
from models_registry.community.discussions import pulls
from models_registry.community.discussions import services as discussions
from models_registry.repos.commits import AddFile
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import create_branch, create_repository, create_tag
from tests.factories import make_repository, make_user, push, store
from tests.models_registry.accounts.policy_table import ACTS, GROUPS, TABLE, VISIBILITIES, WHO, Stage, expected

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[3] / "docs" / "roles.md"
BEGIN, END = "<!-- the table, written by tests/models_registry/accounts/test_policy_table.py -->", "<!-- end -->"
SCOPES = {
    "fine:nothing": [], "fine:read": ["acme/r:repo.content.read"], "fine:write": ["acme/r:repo.write"],
    "fine:elsewhere": ["acme/other:repo.write"], "fine:namespace": ["acme:repo.write"],
    "fine:discuss": ["acme/r:repo.content.read,discussion.write"],
}  # fmt: skip


def _people() -> dict[str, User]:
    names = ("admin", "outsider", "read", "contributor", "write", "owner", "newcomer", "member")
    people = {name: make_user(name) for name in names} | {"superuser": make_user("root", admin=True)}
    acme = create_organization("acme", people["admin"])
    for role in ("read", "contributor", "write"):
        Membership.objects.create(namespace=acme, user=people[role], role=role)
    Membership.objects.create(namespace=acme, user=people["member"], role="read")
    return people | {"creator": people["contributor"]}


def _repository(people: dict[str, User], who: str) -> Repository:
    """The repository which `who` acts on; everything in it was made by others."""
    if who == "owner":
        return make_repository(people["owner"], "r")
    maker = people["contributor"] if who == "creator" else people["admin"]
    make_repository(people["outsider"], "own")
    create_repository(Actor(people["admin"]), RepoType.MODEL, "other", "acme")
    return create_repository(Actor(maker), RepoType.MODEL, "r", "acme")


def _credentials(people: dict[str, User], who: str) -> Client:
    if who == "anonymous":
        return Client()
    if who.startswith("fine:"):
        user = people["admin"]
        asked = FineGrained([scope_of_text(user, text) for text in SCOPES[who]])
        value = create_token(user, who, "fineGrained", fine_grained=asked)
    elif who == "token:read":
        value = create_token(people["admin"], who, "read")
    else:
        value = create_token(people[who], who, "write")
    return Client(headers={"Authorization": f"Bearer {value}"})


def _stage(who: str, visibility: str) -> Stage:
    people = _people()
    repository = _repository(people, who)
    maker = repository.creator
    head = push(repository, maker, {"a.txt": b"1", "README.md": b"# R", "w.bin": b"weights"})
    blob = store(repository, b"weights")
    create_branch(Actor(maker), repository, "side")
    create_tag(Actor(maker), repository, "v1", "main")
    stranger = Actor(make_user("stranger"))
    make_repository(stranger.user, "open", files={"a.txt": b"1"})
    talk = discussions.open_discussion(stranger, repository, "A question", "words")
    pull, _ = pulls.open_with_commit(stranger, repository, "main", [AddFile("offer.txt", b"an offer")], "An offer")
    comment = discussions.events_of(talk)[0].public_id
    client = _credentials(people, who)
    changes = {"private": visibility == "private", "gated": "manual" if visibility == "gated" else ""}
    Repository.objects.filter(pk=repository.pk).update(**changes)
    return Stage(
        client, repository.full_name, repository.namespace.name, head, blob, 7, talk.number, pull.number, comment
    )


def _cell(answer, *, anonymous: bool) -> str:
    """An answer as a letter of the table."""
    status = answer if isinstance(answer, int) else answer.status_code
    if isinstance(answer, int):
        return "y" if status < 300 else "-"
    code = answer.headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return "g" if status == (401 if anonymous else 403) else f"gate with {status}"
    if code == "RepoNotFound":
        return "-" if status == (401 if anonymous else 404) else f"missing with {status}"
    if 200 <= status < 400:
        return "y"
    return {401: "s", 403: "n"}.get(status, f"{status} {getattr(answer, 'content', b'')[:200]!r}")


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("who", WHO)
def test_every_act_is_answered_as_the_table_says(who, visibility):
    stage = _stage(who, visibility)
    wrong = []
    for name, (group, play) in ACTS.items():
        if visibility not in TABLE[group] or (wanted := expected(group, who, visibility)) == ".":
            continue
        # Each act is played on the same stage, and taken back.
        with transaction.atomic():
            found = _cell(play(stage), anonymous=who == "anonymous")
            transaction.set_rollback(True)
        if found != wanted:
            wrong.append(f"{name} ({group}): {found}, the table says {wanted}")
    assert not wrong, "\n".join([f"{who}, {visibility}:", *wrong])


def test_every_group_has_acts_and_every_line_has_all_columns():
    assert {group for group, _ in ACTS.values()} == set(TABLE) == set(GROUPS)
    for group, lines in TABLE.items():
        for visibility, line in lines.items():
            assert len(line.replace("|", " ").split()) == len(WHO), (group, visibility)


def test_the_docs_show_the_table():
    """WRITE_ROLES=1 writes it into docs/roles.md."""
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{_markdown()}{END}{after}"
    if os.environ.get("WRITE_ROLES"):
        DOCS.write_text(wanted)
    assert DOCS.read_text() == wanted, "run WRITE_ROLES=1 pytest tests/models_registry/accounts/test_policy_table.py"


def _markdown() -> str:
    words = {"y": "yes", "n": "no", "s": "sign in", "-": "not there", "g": "gate", ".": ""}
    lines = []
    for visibility in VISIBILITIES:
        groups = [group for group in TABLE if visibility in TABLE[group]]
        lines += ["", f"### {visibility.capitalize()}", "", "| | " + " | ".join(groups) + " |"]
        lines.append("|---|" + "---|" * len(groups))
        for who, told in WHO.items():
            cells = [words[expected(group, who, visibility)] for group in groups]
            lines.append(f"| {told} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def test_a_table_which_is_wrong_would_be_noticed():
    stage = _stage("outsider", "private")
    assert _cell(ACTS["info"][1](stage), anonymous=False) == "-" != expected("see", "outsider", "public")
    assert AccessToken.objects.count() == 1
