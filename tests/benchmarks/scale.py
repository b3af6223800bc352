"""Processor time a call, at 1,000 and at 100,000 repositories on SQLite, with the ratio: no cost grows with the table.

python -m tests.benchmarks.scale [--sizes 1000 100000] [--rounds 200] [--profile CALL]

Each size runs in a process of its own with a database of its own, warm, by the site's own WSGI application; what is
counted is the processor time of that process (median), so other work on the machine does not count. The yardstick is a
view which does nothing but pass the same middleware. BAR is what issue 3 allows, in ms.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

BARS = {"info": 3, "revision": 3, "paths-info": 3, "HEAD resolve": 3, "listing": 10, "commit": 15}
YARDSTICK = "a route which does not exist"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 100_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--profile", default="")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.rounds, options.profile)))
        return
    found = {size: _in_a_process(size, options) for size in options.sizes}
    first, last = options.sizes[0], options.sizes[-1]
    print(f"{'call':<44}" + "".join(f"{size:>12,}" for size in options.sizes) + f"{'ratio':>8} {'BAR':>5}")
    for call in found[first]:
        bar = next((ms for name, ms in BARS.items() if call.startswith(name)), "")
        figures = "".join(f"{found[size][call]:>9.2f} ms" for size in options.sizes)
        print(f"{call:<44}{figures}{found[last][call] / found[first][call]:>8.2f} {bar:>5}")


def _in_a_process(size: int, options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="fithub-scale-") as folder:
        env = os.environ | {
            "FITHUB_DATA": folder,
            "DJANGO_SETTINGS_MODULE": "hub.settings",
            "FITHUB_LOG_LEVEL": "ERROR",
        }
        argv = [sys.executable, "-m", "tests.benchmarks.scale", "--one", str(size), "--rounds", str(options.rounds)]
        argv += ["--profile", options.profile] if options.profile else []
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def measure(size: int, rounds: int, profile: str) -> dict[str, float]:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    token = fill(size)
    hub = Caller(token)
    found = {}
    for name, act in calls(hub, size).items():
        for _ in range(10):
            act()
        if profile and name.startswith(profile):
            _profile(act, rounds)
        times = []
        for _ in range(rounds):
            began = time.process_time_ns()
            act()
            times.append(time.process_time_ns() - began)
        found[name] = statistics.median(times) / 1e6
    return found


def calls(hub: "Caller", size: int) -> dict[str, Any]:
    """The calls of the issue, and each filter of a listing, for rare and frequent values."""
    middle = f"user{(size // 2) % 100}/model-{size // 2}"
    count = iter(range(10**9))
    form = "application/x-www-form-urlencoded"

    def commit() -> None:
        lines = [
            {"key": "header", "value": {"summary": "one file"}},
            {"key": "file", "value": {"path": "a.txt", "content": f"{next(count)}", "encoding": "utf-8"}},
        ]
        body = "\n".join(json.dumps(line) for line in lines).encode()
        hub("POST", f"/api/models/{middle}/commit/main", body, "application/x-ndjson")

    listing = "/api/models?limit=50"
    deep = hub.deep_page(listing)
    addresses = {
        "listing of 50": listing,
        "listing, the page after 500 rows": deep,
        "listing by likes": f"{listing}&sort=likes",
        "listing by trendingScore": f"{listing}&sort=trendingScore",
        "listing, author of many": f"{listing}&author=user7",
        "listing, frequent tag": f"{listing}&filter=license:mit",
        "listing, rare tag": f"{listing}&filter=rare-1",
        "listing, frequent tag by downloads": f"{listing}&filter=license:mit&sort=downloads",
        "listing, search for a frequent word": f"{listing}&search=model",
        "listing, search for a rare word": f"{listing}&search=model-{size // 2}",
        "listing, search for a word of nobody": f"{listing}&search=xyzzy",
        "listing, search, tag and sort": f"{listing}&search=model&filter=license:mit&sort=likes",
        "listing, num_parameters": f"{listing}&num_parameters=min:6B,max:7B",
        "tags by type": "/api/models-tags-by-type",
    }
    return {
        f"({YARDSTICK})": lambda: hub("GET", "/api/nothing", expected=404),
        "info": lambda: hub("GET", f"/api/models/{middle}"),
        "info, anonymous": lambda: hub("GET", f"/api/models/{middle}", anonymous=True),
        "revision": lambda: hub("GET", f"/api/models/{middle}/revision/main"),
        "paths-info": lambda: hub(
            "POST", f"/api/models/{middle}/paths-info/main", b"paths=config.json&expand=false", form
        ),
        "HEAD resolve": lambda: hub("HEAD", f"/{middle}/resolve/main/config.json"),
        **{name: (lambda url=url: hub("GET", url)) for name, url in addresses.items()},
        "commit of one small file": commit,
    }


class Caller:
    """Calls the site's WSGI application, as a server would."""

    def __init__(self, token: str) -> None:
        from hub.wsgi import application

        self.application, self.token = application, token
        self.headers: dict[str, str] = {}

    def __call__(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        kind: str = "application/json",
        *,
        anonymous: bool = False,
        expected: int = 200,
    ) -> bytes:
        from django.test import RequestFactory

        path, _, query = url.partition("?")
        environ = RequestFactory().generic(method, path, body, kind, QUERY_STRING=query).environ
        if not anonymous:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {self.token}"
        status = []

        def start(line: str, headers: list[tuple[str, str]], *_: Any) -> None:
            status.append(line)
            self.headers = dict(headers)

        answer = self.application(environ, start)
        data = b"".join(answer)
        answer.close()
        if not status[0].startswith(str(expected)):
            raise RuntimeError(f"{method} {url}: {status[0]} {data[:300]!r}")
        return data

    def deep_page(self, url: str) -> str:
        for _ in range(10):
            self("GET", url)
            url = self.headers["Link"].partition(">")[0].removeprefix("<http://testserver")
        return url


def fill(size: int) -> str:
    """`size` models of 100 owners with git objects, tags and texts, written in bulk. Gives a token which may write."""
    from datetime import timedelta

    from django.db import transaction
    from django.utils import timezone
    from dulwich.objects import Blob, Commit

    from models_registry.accounts.services import create_user
    from models_registry.accounts.tokens import create_token
    from models_registry.cards.facts import VERSION
    from models_registry.repos import git_objects as git
    from models_registry.repos.models import GitObject, Ref, Repository, RepositoryTag
    from models_registry.search.index import text_of
    from models_registry.search.models import SearchText

    users = [create_user(f"user{number}") for number in range(100)]
    admin = create_user("root", admin=True)
    blobs = [Blob.from_string(b'{"model_type": "bert"}'), Blob.from_string(b"---\nlicense: mit\n---\n# M\n")]
    names = ("config.json", "README.md")
    items = [git.TreeItem(name, git.FILE_MODE, b.id.decode()) for name, b in zip(names, blobs, strict=True)]
    tree = git.make_tree(items)
    first = Commit()
    first.tree, first.author, first.committer = tree.id, b"u <u@x>", b"u <u@x>"
    first.author_time = first.commit_time = 1_700_000_000
    first.author_timezone = first.commit_timezone = 0
    first.message = b"initial commit"
    objects = [*blobs, tree, first]
    now = timezone.now()
    for start in range(0, size, 5000):
        with transaction.atomic():
            rows, texts, tags = [], [], []
            for number in range(start, min(start + 5000, size)):
                owner = users[number % 100]
                name = f"model-{number}"
                shown = [
                    "transformers",
                    "bert",
                    "license:mit" if number % 2 else "license:other",
                    f"family-{number % 500}",
                ]
                shown += [f"rare-{number // 7}", "en", "fill-mask", f"dataset:d{number % 1000}"]
                row = Repository(
                    type="model", namespace=owner.namespace, name=name, full_name=f"{owner.username}/{name}",
                    creator=owner, created_at=now, last_modified=now - timedelta(seconds=size - number),
                    downloads=number * 7919 % 10_007, likes=number * 31 % 97, trending=number * 17 % 1009,
                    private=number % 50 == 3, library_name="transformers", pipeline_tag="fill-mask",
                    summary="A model of the benchmark.", tags=shown, card={"license": "mit", "language": "en"},
                    num_parameters=(number % 1000) * 10**8, file_facts={"version": VERSION, "endings": {"config.json": 1}},
                )  # fmt: skip
                rows.append(row)
            made = Repository.objects.bulk_create(rows, batch_size=1000)
            for row in made:
                texts.append(SearchText(repository=row, text=text_of(row.full_name, row.summary, row.tags)))
                tags += [RepositoryTag(repository=row, tag=tag) for tag in [*row.tags, "pipeline_tag:fill-mask"]]
            SearchText.objects.bulk_create(texts, batch_size=1000)
            RepositoryTag.objects.bulk_create(tags, batch_size=5000)
            Ref.objects.bulk_create(
                [Ref(repository=row, name="refs/heads/main", oid=first.id.decode()) for row in made], batch_size=2000
            )
            GitObject.objects.bulk_create([git.row_of(row, item) for row in made for item in objects], batch_size=2000)
    return create_token(admin, "bench", "write")


def _profile(act: Any, rounds: int) -> None:
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(rounds):
        act()
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
