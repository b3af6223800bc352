"""`make benchmarks`: FitHub's own figures beside yardsticks, on SQLite and on PostgreSQL. Nothing passes or fails on time.

python -m tests.benchmarks [sqlite] [postgresql] [--skip-models] [--only-git] [--only-storage] [--only-memory]
"""

import argparse
import getpass
import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import delivery, git, memory, models, registry, repush, storage
from tests.live.hub_process import Hub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--skip-models", action="store_true", help="leave out push-to-variants")
    parser.add_argument("--only-git", action="store_true", help="nothing but clone and push")
    parser.add_argument(
        "--only-storage", action="store_true", help="nothing but large files in and out, beside nginx too"
    )
    parser.add_argument("--only-memory", action="store_true", help="nothing but the web's memory with one large file")
    options = parser.parse_args()
    print(f"{'database':<10} {'what':<44} {'each':>13} {'':>14}   ratio to the yardstick of the same run")
    for database in options.databases:
        with running_hub(database) as hub:
            if hub is None:
                continue
            if options.only_memory:
                memory.run(database, hub)
                continue
            if not options.only_git:
                for part in (storage, delivery, repush, memory):
                    part.run(database, hub)
            if options.only_storage:
                continue
            if not options.only_git:
                registry.run(database, hub)
            git.run(database, hub)
            if not (options.skip_models or options.only_git):
                models.run(database, hub)


@contextmanager
def running_hub(database: str) -> Iterator[Hub | None]:
    with tempfile.TemporaryDirectory(prefix="fithub-bench-") as folder:
        environment = {"FITHUB_MEASURE_SECONDS": "1", "FITHUB_LOG_LEVEL": "WARNING"}
        name = "fithub_benchmark"
        if database == "postgresql":
            missing = "psycopg" if importlib.util.find_spec("psycopg") is None else ""
            if not missing and _psql(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}"):
                missing = "a PostgreSQL at 127.0.0.1 which this user may use"
            if missing:
                print(f"postgresql left out: {missing} is not here")
                yield None
                return
            environment["DATABASE_URL"] = f"postgres://{getpass.getuser()}@127.0.0.1:5432/{name}"
        hub = Hub(Path(folder), **environment).start()
        try:
            hub.add_user("alice")
            yield hub
        finally:
            hub.stop()
            if database == "postgresql":
                _psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _psql(*statements: str) -> int:
    for statement in statements:
        argv = ["psql", "-q", "-h", "127.0.0.1", "-d", "postgres", "-c", statement]
        try:
            if subprocess.run(argv, capture_output=True, check=False).returncode:
                return 1
        except FileNotFoundError:
            return 1
    return 0


if __name__ == "__main__":
    main()
