"""Moves, gates and duplicates by the stock client; moves which race; a web process which dies in a move or a copy."""

import os
import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.live.hub_process import Answer, Hub
from tests.live.test_races import SEED, killed_during

pytestmark = pytest.mark.live


@pytest.fixture
def alice(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.tokens["alice"])


@pytest.fixture
def bob(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.tokens["bob"])


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """A cache which knows nothing yet."""
    return lambda: {"cache_dir": str(tmp_path / uuid.uuid4().hex)}


@pytest.fixture
def made(alice: HfApi) -> str:
    name: str = alice.create_repo(f"life-{uuid.uuid4().hex[:8]}").repo_id
    alice.upload_file(path_or_fileobj=b"weights" * 1000, path_in_repo="w.bin", repo_id=name)
    alice.upload_file(path_or_fileobj=b"hello", path_in_repo="d/a b#1%.txt", repo_id=name)
    return name


def test_the_client_works_on_by_the_old_name(alice: HfApi, bob: HfApi, made: str, fresh) -> None:
    new = f"{made}-new"
    alice.move_repo(made, new)
    assert alice.model_info(made).id == new
    assert Path(alice.hf_hub_download(made, "d/a b#1%.txt", **fresh())).read_text() == "hello"
    folder = Path(alice.snapshot_download(made, **fresh()))
    assert (folder / "w.bin").read_bytes() == b"weights" * 1000
    alice.upload_file(path_or_fileobj=b"more" * 9000, path_in_repo="more.bin", repo_id=made)
    alice.create_branch(made, branch="dev/x")
    assert {ref.name for ref in alice.list_repo_refs(new).branches} == {"main", "dev/x"}
    alice.update_repo_settings(made, private=True)
    with pytest.raises(RepositoryNotFoundError):
        bob.model_info(made)
    assert alice.file_exists(made, "more.bin")
    taken = alice.create_repo(f"{made}-taken").repo_id
    with pytest.raises(HfHubHTTPError, match=r"A model repository called .* already exists"):
        alice.move_repo(new, taken)
    assert alice.create_repo(made).repo_id == made and alice.list_repo_files(made) == [".gitattributes"]


def test_the_client_before_and_behind_a_gate(hub: Hub, alice: HfApi, bob: HfApi, made: str, fresh) -> None:
    alice.upload_file(path_or_fileobj=b"---\nlicense: mit\n---\n", path_in_repo="README.md", repo_id=made)
    alice.update_repo_settings(made, gated="manual")
    outside = HfApi(endpoint=hub.url, token=False)
    for api in (bob, outside):
        with pytest.raises(GatedRepoError, match="is restricted and you are not in the authorized list"):
            api.hf_hub_download(made, "w.bin", **fresh())
        with pytest.raises(GatedRepoError):
            api.auth_check(made)
        with pytest.raises(GatedRepoError):
            api.snapshot_download(made, **fresh())
        assert api.repo_exists(made) and api.model_info(made).gated == "manual"
        assert Path(api.hf_hub_download(made, "README.md", **fresh())).is_file()
    assert hub.call("POST", f"/{made}/ask-access", token=hub.tokens["bob"]).json() == {"status": "pending"}
    (request,) = alice.list_pending_access_requests(made)
    assert request.username == "bob"
    alice.accept_access_request(made, request_id=request.request_id)
    assert (Path(bob.snapshot_download(made, **fresh())) / "w.bin").stat().st_size == 7000
    with pytest.raises(HfHubHTTPError):
        alice.grant_access(made, "bob")
    alice.cancel_access_request(made, "bob")
    with pytest.raises(GatedRepoError):
        bob.hf_hub_download(made, "w.bin", **fresh())


def test_the_client_duplicates(alice: HfApi, bob: HfApi, made: str, fresh) -> None:
    url = bob.duplicate_repo(made)
    assert url.repo_id == f"bob/{made.split('/')[1]}" and bob.duplicate_repo(made, exist_ok=True) == url
    commits = [commit.commit_id for commit in alice.list_repo_commits(made)]
    assert [commit.commit_id for commit in bob.list_repo_commits(url.repo_id)] == commits
    alice.delete_repo(made)
    assert Path(bob.hf_hub_download(url.repo_id, "w.bin", **fresh())).read_bytes() == b"weights" * 1000
    bob.upload_file(path_or_fileobj=b"weights" * 1000 + b"!", path_in_repo="w.bin", repo_id=url.repo_id)


# --- races, and kill -9 ------------------------------------------------------------------------------------------
def post(hub: Hub, path: str, **body: str) -> Answer:
    return hub.call("POST", path, body, token=hub.tokens["alice"])


def move(hub: Hub, old: str, new: str) -> Answer:
    return post(hub, "/api/repos/move", fromRepo=old, toRepo=new, type="model")


def test_of_many_moves_to_one_name_one_wins(hub: Hub) -> None:
    mark = uuid.uuid4().hex[:8]
    names = [f"alice/race-{mark}-{number}" for number in range(6)]
    for name in names:
        assert post(hub, "/api/repos/create", name=name).status == 200
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: move(hub, name, f"alice/won-{mark}"), names))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
    winner = names[[answer.status for answer in answers].index(200)]
    for name in names:
        moved = hub.call("GET", f"/api/models/{name}").status
        assert moved == (307 if name == winner else 200)


def test_commits_and_moves_at_once_lose_nothing(hub: Hub) -> None:
    mark = uuid.uuid4().hex[:8]
    first, second = f"alice/a-{mark}", f"alice/b-{mark}"
    post(hub, "/api/repos/create", name=first)
    api = HfApi(endpoint=hub.url, token=hub.tokens["alice"])

    def to_and_fro() -> int:
        pairs = [(first, second), (second, first)] * 4
        return sum(move(hub, old, new).status == 200 for old, new in pairs)

    def push(number: int) -> None:
        api.upload_file(path_or_fileobj=b"x", path_in_repo=f"{number}.txt", repo_id=first)

    with ThreadPoolExecutor(4) as pool:
        moves = pool.submit(to_and_fro)
        list(pool.map(push, range(12)))
        assert moves.result() == 8
    assert {f"{number}.txt" for number in range(12)} <= set(api.list_repo_files(first))


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose web dies again and again."""
    hub = Hub(tmp_path_factory.mktemp("hurt")).start()
    try:
        hub.add_user("alice")
        yield hub
    finally:
        left = hub.stop()
    assert not left, left
    hub.check_log()
    hub.clear()


@pytest.mark.parametrize("round_", range(3))
def test_web_killed_at_any_moment_of_moves_and_duplicates(round_: int, hurt: Hub) -> None:
    hub, rng = hurt, random.Random(f"{SEED} lifecycle {round_}")
    source = f"alice/source-{round_}"
    post(hub, "/api/repos/create", name=source)
    api = HfApi(endpoint=hub.url, token=hub.tokens["alice"])
    api.upload_file(path_or_fileobj=os.urandom(20_000), path_in_repo="w.bin", repo_id=source)
    files = set(api.list_repo_files(source))
    told: dict[str, int] = {}

    def act() -> None:
        for number in range(200):
            copy = f"alice/copy-{round_}-{number}"
            told[copy] = post(hub, f"/api/models/{source}/duplicate", repository=copy).status
            told[f"{copy}-moved"] = move(hub, copy, f"{copy}-moved").status

    killed_during(hub, rng, act, 1.5)
    done = [name for name, status in told.items() if status == 200]
    for name in done:
        seen = hub.call("GET", f"/api/models/{name}").status
        assert seen == 200 or (seen == 307 and not name.endswith("-moved")), (name, seen)
    last = len([name for name in done if not name.endswith("-moved")])
    for number in (last - 1, last):
        copy = f"alice/copy-{round_}-{number}"
        if number < 0:
            continue
        found = [name for name in (copy, f"{copy}-moved") if hub.call("GET", f"/api/models/{name}").status == 200]
        assert len(found) <= 1, "a repository under two names"
        for name in found:
            assert set(api.list_repo_files(name)) == files, "half a copy"
            assert hub.call("GET", f"/{name}/resolve/main/w.bin").status == 200
        if not found:
            assert post(hub, f"/api/models/{source}/duplicate", repository=copy).status == 200
    print(f"round {round_}: killed after {len(done)} acts")
