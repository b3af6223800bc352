"""Random kill -9 of web and workers, in the middle of what they do, and a tally of what came of it.

python -m tests.benchmarks.kills [--rounds 1000] [--minutes M] [--seed N]

Each round does one thing (an upload by LFS, one by Xet with the stock client, a commit, cutting into chunks, a
collection, a conversion) and kills whoever does it at a random moment. Then it looks: nothing half-visible, what was there is whole, and the same thing
done again succeeds. At the end everything stored is verified and nothing may be left over.
"""

import argparse
import contextlib
import hashlib
import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.compression_service.engine import engine_models
from tests.live.hub_process import PROJECT, Hub

MB = 1024 * 1024
REPO = "alice/shaken"
_LINES = {"Content-Type": "application/x-ndjson"}


class Shaken:
    """A hub which is killed, and what it must hold: path -> SHA-256."""

    def __init__(self, hub: Hub, rng: random.Random) -> None:
        self.hub, self.rng, self.token = hub, rng, hub.tokens["alice"]
        self.base = rng.randbytes(4 * MB)
        self.files: dict[str, str] = {}
        self.tally: Counter[str] = Counter()

    # --- what is done in a round: each returns whether it succeeded ------------------------------------------------
    def upload(self, data: bytes) -> bool:
        oid = hashlib.sha256(data).hexdigest()
        body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
        answer = self.hub.call("POST", f"/{REPO}.git/info/lfs/objects/batch", body, token=self.token)
        if answer.status != 200:
            return False
        actions = answer.json()["objects"][0].get("actions")
        if actions is None:
            return True
        link = "/" + actions["upload"]["href"].split("/", 3)[3]
        return self.hub.call("PUT", link, data).status == 200

    def commit(self, path: str, data: bytes) -> bool:
        value = {"path": path, "algo": "sha256", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        lines = [{"key": "header", "value": {"summary": path}}, {"key": "lfsFile", "value": value}]
        body = "\n".join(map(json.dumps, lines)).encode()
        url = f"/api/models/{REPO}/commit/main"
        return self.hub.call("POST", url, body, token=self.token, headers=_LINES).status == 200

    # --- rounds ------------------------------------------------------------------------------------------------------
    def round_of_upload(self, number: int) -> None:
        data, path = self.rng.randbytes(12 * MB), f"u{number}.bin"
        self._killed_web("upload", lambda: self.upload(data), 0.12)
        assert self._missing(path), "a file which nobody committed is there"
        self._again("upload", lambda: self.upload(data) and self.commit(path, data))
        self.files[path] = hashlib.sha256(data).hexdigest()

    def round_of_completion(self, number: int) -> None:
        data, path = self.rng.randbytes(100_000), f"c{number}.bin"
        assert self.upload(data)
        done = self._killed_web("completion", lambda: self.commit(path, data), 0.03)
        assert not (done and self._missing(path)), "a commit was told to be done and is gone"
        self._again("completion", lambda: self.commit(path, data))
        self.files[path] = hashlib.sha256(data).hexdigest()

    def round_of_sweep(self, number: int) -> None:
        self._killed_command("sweep", "collect_garbage", "--days", "0")

    def round_of_chunking(self, number: int) -> None:
        base = self.rng.randbytes(4 * MB)
        for name in ("a", "b"):
            data, path = base + name.encode(), f"{name}{number}.bin"
            assert self.upload(data) and self.commit(path, data)
            self.files[path] = hashlib.sha256(data).hexdigest()
        self._killed_command("chunking", "chunk_contents")

    def round_of_xet(self, number: int) -> None:
        """The stock client pushes a file of which half was there before; it tries again by itself for a while."""
        data, path = self.base + self.rng.randbytes(4 * MB), f"x{number}.bin"
        (self.hub.folder / path).write_bytes(data)
        call = {
            "call": "upload_file",
            "path_or_fileobj": str(self.hub.folder / path),
            "path_in_repo": path,
            "repo_id": REPO,
        }

        def push() -> bool:
            return "error" not in self.hub.client([dict(call)])[0]

        done = self._killed_web("xet", push, 4)
        assert not (done and self._missing(path)), "the client was told that its push is done, and it is gone"
        self._again("xet", push)
        self.files[path] = hashlib.sha256(data).hexdigest()
        self._look_at(path)
        (self.hub.folder / path).unlink()

    def round_of_conversion(self, number: int) -> None:
        """A model is pushed, workers die while its variants are made, and yet all of them are."""
        repo = f"alice/converted{number}"
        model = self.hub.folder / f"model{number}"
        model.mkdir()
        engine_models.saved(engine_models.mlp(16 + number % 32, 48), model / "model.onnx")
        self.hub.push(repo, model)
        time.sleep(self.rng.uniform(0, 6))
        busy = any(job["state"] == "running" for job in self.hub.jobs(repo))
        for worker in self.hub.workers("heavy") + self.hub.workers("light"):
            with contextlib.suppress(psutil.Error):
                worker.kill()
        self.tally[f"conversion: {'killed in the middle' if busy else 'killed between jobs'}"] += 1
        family = self.hub.wait_family(repo)
        states = Counter(variant["status"] for variant in family["variants"])
        assert family["source"]["status"] == "ready" and states["ready"], (family["source"], states)
        assert not states["making"], states
        self.tally["conversion: variants ready"] += states["ready"]

    # --- the kills ---------------------------------------------------------------------------------------------------
    def _killed_web(self, what: str, act: Callable[[], bool], most_s: float) -> bool:
        """Do it while all web processes are killed after at most so many seconds. Returns whether it succeeded."""
        pids = [process.pid for process in self.hub.web()]
        wait_s = self.rng.uniform(0, most_s)
        killer = subprocess.Popen(["sh", "-c", f"sleep {wait_s:.4f}; kill -9 {' '.join(map(str, pids))}"])
        try:
            done = act()
        except OSError:
            done = False
        hit = killer.poll() is not None  # the kill came before the end
        killer.wait()
        went_on = "done before" if not hit else "killed in the middle, went on by itself"
        self.tally[f"{what}: {went_on if done else 'killed in the middle'}"] += 1
        self._wait_web()
        return done

    def _killed_command(self, what: str, *command: str) -> None:
        argv = [self.hub.python, "manage.py", *command]
        process = subprocess.Popen(
            argv, cwd=PROJECT, env=self.hub.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.rng.uniform(0.8, 2.2))
        process.kill()
        code = process.wait()
        self.tally[f"{what}: {'killed in the middle' if code == -signal.SIGKILL else 'done before'}"] += 1
        self._look(3)
        self.hub.manage(*command)
        self.tally[f"{what}: again, succeeded"] += 1

    def _again(self, what: str, act: Callable[[], bool]) -> None:
        assert act(), f"{what}: the retry failed"
        self.tally[f"{what}: again, succeeded"] += 1

    def _wait_web(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.hub.call("GET", f"/api/models/{REPO}", timeout=5).status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the hub did not come back")

    def _missing(self, path: str) -> bool:
        return self.hub.call("HEAD", f"/{REPO}/resolve/main/{path}").status == 404

    def _look(self, count: int | None = None) -> None:
        """Read back some of the files (None: all)."""
        names = sorted(self.files)
        for path in names if count is None else self.rng.sample(names, min(count, len(names))):
            self._look_at(path)

    def _look_at(self, path: str) -> None:
        try:
            body = self.hub.call("GET", f"/{REPO}/resolve/main/{path}").body
        except OSError:  # a process which outlived its killed parent answered before, and has ended now
            self.tally["web was away once more after it had come back"] += 1
            self._wait_web()
            body = self.hub.call("GET", f"/{REPO}/resolve/main/{path}").body
        assert hashlib.sha256(body).hexdigest() == self.files[path], f"{path} is damaged"
        self.tally["files read back whole"] += 1

    def finish(self) -> None:
        self._look()
        self.hub.manage("verify_storage", timeout=900)
        for _ in range(2):
            self.hub.manage("collect_garbage", "--days", "0", "--xorb-days", "0", "--forget-clients")
        report = self.hub.manage("collect_garbage", "--days", "0", "--xorb-days", "0", "--forget-clients", "--dry-run")
        assert report.splitlines()[-1].startswith("0 bytes"), report
        self._look()


def run(rounds: int, seed: int, minutes: float) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fithub-kills-") as name:
        folder = Path(name)
        hub = Hub(
            folder / "hub", FITHUB_LOG_LEVEL="WARNING", FITHUB_LEASE_SECONDS="3", FITHUB_ALLOWANCE_SECONDS="10"
        ).start()
        try:
            hub.add_user("alice")
            shaken = Shaken(hub, rng)
            created = hub.call("POST", "/api/repos/create", {"name": "shaken", "type": "model"}, token=shaken.token)
            assert created.status == 200, created.body
            acts = {
                shaken.round_of_upload: 10, shaken.round_of_completion: 10, shaken.round_of_sweep: 4,
                shaken.round_of_chunking: 4, shaken.round_of_xet: 3, shaken.round_of_conversion: 1,
            }  # fmt: skip
            began, done = time.monotonic(), 0
            while done < rounds and time.monotonic() - began < minutes * 60:
                # Each kind once first, so that a short run leaves none out.
                act = [*acts][done] if done < len(acts) else rng.choices([*acts], [*acts.values()])[0]
                act(done)
                done += 1
            shaken.finish()
            print(f"{done} rounds of kill -9 in {time.monotonic() - began:.0f} s, seed {seed}: nothing was lost")
            for what, count in sorted(shaken.tally.items()):
                print(f"  {count:>6} {what}")
        finally:
            hub.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=600, help="begin no round after so many")
    parser.add_argument("--seed", type=int, default=20261127)
    options = parser.parse_args()
    run(options.rounds, options.seed, options.minutes)


if __name__ == "__main__":
    main()
