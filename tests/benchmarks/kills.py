"""Random kill -9 of web and workers, in the middle of what they do, and a tally of what came of it.

python -m tests.benchmarks.kills [--rounds 1000] [--minutes M] [--seed N]     (SIGTERM: no round more, then the tally)

Each round does one thing (an upload by LFS, a commit, a push by Xet with the stock client, cutting into chunks, a
collection, a conversion) and kills whoever does it at a random moment: within the time which that thing just took
undisturbed. Of the web, granian with all its processes dies, or its workers, or the one which serves. Then it looks:
nothing half-visible, what was there is whole, and the same thing done again succeeds. A model is converted beside the
following rounds. At the end everything stored is verified and nothing may be left over. Where something is lost, the
hub's folder stays.
"""

import argparse
import contextlib
import hashlib
import json
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks.killable import Aim, Client, Forks, WebKill, timed
from tests.compression_service.engine import engine_models
from tests.live.hub_process import Hub

MB = 1024 * 1024
REPO = "alice/shaken"
_SOON = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "200ms"}  # its own 3 s, doubled each time, are spent on nothing
_LINES = {"Content-Type": "application/x-ndjson"}
# After granian was killed it starts anew; killed again within seconds, `manage.py run` takes it for a broken program.
_PAUSE_OF_ALL_S = 6


class Shaken:
    """A hub which is killed, and what it must hold: path -> SHA-256."""

    def __init__(self, hub: Hub, rng: random.Random) -> None:
        self.hub, self.rng, self.token = hub, rng, hub.tokens["alice"]
        self.base = rng.randbytes(4 * MB)
        self.files: dict[str, str] = {}
        self.tally: Counter[str] = Counter()
        self.forks, self.client = Forks(hub), Client(hub, **_SOON)
        self.aims = {"upload": Aim(0.15), "commit": Aim(0.05), "xet": Aim(1), "sweep": Aim(0.5), "chunking": Aim(0.5)}
        self.all_killed_at = 0.0
        self.converted: _Conversion | None = None

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
        return self._commit({"key": "lfsFile", "value": value})

    def delete(self, path: str) -> bool:
        return self._commit({"key": "deletedFile", "value": {"path": path}})

    def squash(self) -> bool:
        url = f"/api/models/{REPO}/super-squash/main"
        return self.hub.call("POST", url, {"message": "squashed"}, token=self.token).status == 200

    def _commit(self, line: dict[str, object]) -> bool:
        lines = [{"key": "header", "value": {"summary": "a round"}}, line]
        text = "\n".join(map(json.dumps, lines)).encode()
        url = f"/api/models/{REPO}/commit/main"
        return self.hub.call("POST", url, text, token=self.token, headers=_LINES).status == 200

    # --- rounds ------------------------------------------------------------------------------------------------------
    def round_of_upload(self, number: int) -> None:
        data, path = self.rng.randbytes(6 * MB), f"u{number}.bin"
        self._killed_web("upload", lambda: self.upload(data))
        assert self._seen(path) is None, "a file which nobody committed is there"
        self._again("upload", lambda: self.upload(data))
        assert self.commit(path, data)
        self.files[path] = hashlib.sha256(data).hexdigest()

    def round_of_commit(self, number: int) -> None:
        data, path = self.rng.randbytes(100_000), f"c{number}.bin"
        assert self.upload(data)
        done = self._killed_web("commit", lambda: self.commit(path, data))
        self._expect_whole_or_none(path, data, told_done=done)
        self._again("commit", lambda: self.commit(path, data))
        self.files[path] = hashlib.sha256(data).hexdigest()

    def round_of_sweep(self, number: int) -> None:
        """Takes uploads which nobody committed, and files which were deleted with their history."""
        for _ in range(2):
            assert self.upload(self.rng.randbytes(MB))
        for path in self.rng.sample(sorted(self.files), min(3, len(self.files))):
            assert self.delete(path)
            del self.files[path]
        assert self.squash()
        command = ["collect_garbage", "--days", "0"]
        if self.converted is not None:  # what a worker is about to publish needs a grace, as documented
            command[2] = f"{60 / 86400:.5f}"
        elif self.rng.random() < 0.3:
            command += ["--xorb-days", "0", "--forget-clients"]
        self._killed_command("sweep", *command)

    def round_of_chunking(self, number: int) -> None:
        base = self.rng.randbytes(3 * MB)
        for name in ("a", "b"):
            data, path = base + name.encode(), f"{name}{number}.bin"
            assert self.upload(data) and self.commit(path, data)
            self.files[path] = hashlib.sha256(data).hexdigest()
        self._killed_command("chunking", "chunk_contents")

    def round_of_xet(self, number: int) -> None:
        """The stock client pushes a file of which half was there before; it tries again by itself for a while."""
        data, path = self.base + self.rng.randbytes(4 * MB), f"x{number}.bin"
        local = self.hub.folder / path
        local.write_bytes(data)

        def push() -> bool:
            return self.client.call("upload_file", path_or_fileobj=str(local), path_in_repo=path, repo_id=REPO)

        done = self._killed_web("xet", push)
        self._expect_whole_or_none(path, data, told_done=done)
        # A new last byte, else the client finds everything there: undisturbed pushes say when to kill the next one.
        data = data[:-1] + bytes([data[-1] ^ 1])
        local.write_bytes(data)
        self._again("xet", push)
        self.files[path] = hashlib.sha256(data).hexdigest()
        self._look_at(path)
        local.unlink()

    def round_of_conversion(self, number: int) -> None:
        """A model is pushed, workers die while its variants are made, and yet all of them are: looked at later."""
        self.settle()
        folder = self.hub.folder / f"model{number}"
        folder.mkdir()
        engine_models.saved(engine_models.mlp(16 + number % 32, 48), folder / "model.onnx")
        repo = f"alice/converted{number}"
        assert self.client.call("create_repo", repo_id=repo)
        assert self.client.call("upload_folder", repo_id=repo, folder_path=str(folder))
        self.converted = _Conversion(self.hub, repo, self.rng.uniform(0, 12))

    def settle(self) -> None:
        """Wait for the conversion which runs beside the rounds, and judge it."""
        if self.converted is None:
            return
        busy, family = self.converted.finished()
        self.tally[f"conversion: {'killed in the middle' if busy else 'killed between jobs'}"] += 1
        states = Counter(variant["status"] for variant in family["variants"])
        assert family["source"]["status"] == "ready" and states["ready"], (family["source"], states)
        assert not states["making"], states
        self.tally["conversion: variants ready"] += states["ready"]
        self.converted = None

    # --- the kills ---------------------------------------------------------------------------------------------------
    def _killed_web(self, what: str, act: Callable[[], bool]) -> bool:
        """Do it while web processes are killed. Returns whether it succeeded."""
        who = self.rng.choices(["one", "workers", "all"], [7, 2, 1])[0]
        if who == "all" and time.monotonic() - self.all_killed_at < _PAUSE_OF_ALL_S:
            who = "workers"
        if who == "all":
            self.all_killed_at = time.monotonic()
        with WebKill(self.hub, who, self.aims[what].draw_s(self.rng)) as kill:
            done, _ = timed(act)
        hit = "killed in the middle" if kill.in_the_middle else "done before"
        self.tally[f"{what}: {hit}{', succeeded all the same' if done and kill.in_the_middle else ''}"] += 1
        self.tally[f"web killed: {who}"] += 1
        self._wait_web()
        return done

    def _killed_command(self, what: str, *command: str) -> None:
        code, _ = self.forks.run(*command, kill_after_s=self.aims[what].draw_s(self.rng))
        assert code in (0, -signal.SIGKILL), f"{what} failed by itself: {code}"
        self.tally[f"{what}: {'killed in the middle' if code else 'done before'}"] += 1
        self._look(3)
        code, took = self.forks.run(*command)
        assert code == 0, f"{what}: the retry failed"
        self.aims[what].took(took)
        self.tally[f"{what}: again, succeeded"] += 1
        self._look(2)

    def _again(self, what: str, act: Callable[[], bool]) -> None:
        done, took = timed(act)
        if not done:  # a connection to a process which outlived its killed parent for a moment
            self.tally["web was away once more after it had come back"] += 1
            self._wait_web()
            done, took = timed(act)
        assert done, f"{what}: the retry failed"
        self.aims[what].took(took)
        self.tally[f"{what}: again, succeeded"] += 1

    def _wait_web(self) -> None:
        deadline = time.monotonic() + 120  # granian may lose its workers, which `manage.py run` finds after 30 s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.hub.call("GET", f"/api/models/{REPO}", timeout=5).status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the hub did not come back")

    # --- what is looked at -------------------------------------------------------------------------------------------
    def _seen(self, path: str) -> str | None:
        """The SHA-256 of what is served there; None: there is nothing."""
        for attempt in (1, 2):
            try:
                answer = self.hub.call("GET", f"/{REPO}/resolve/main/{path}")
                break
            except OSError:  # a process which outlived its killed parent answered before, and has ended now
                assert attempt == 1, "the web ended although nobody killed it"
                self.tally["web was away once more after it had come back"] += 1
                self._wait_web()
        assert answer.status in (200, 404), (path, answer.status, answer.body[:300])
        return hashlib.sha256(answer.body).hexdigest() if answer.status == 200 else None

    def _expect_whole_or_none(self, path: str, data: bytes, *, told_done: bool) -> None:
        seen = self._seen(path)
        assert seen in (None, hashlib.sha256(data).hexdigest()), f"{path} is half-visible"
        assert seen or not told_done, f"{path} was told to be committed, and is gone"
        self.tally["after the kill: whole" if seen else "after the kill: nothing"] += 1

    def _look(self, count: int | None = None) -> None:
        """Read back some of the files (None: all)."""
        names = sorted(self.files)
        for path in names if count is None else self.rng.sample(names, min(count, len(names))):
            self._look_at(path)

    def _look_at(self, path: str) -> None:
        assert self._seen(path) == self.files[path], f"{path} is damaged or gone"
        self.tally["files read back whole"] += 1

    def finish(self) -> None:
        self.settle()
        self._look()
        self.hub.manage("verify_storage", timeout=900)
        for _ in range(4):  # commits, what only they held, its xorbs
            self.hub.manage("collect_garbage", "--days", "0", "--xorb-days", "0", "--forget-clients")
        report = self.hub.manage("collect_garbage", "--days", "0", "--xorb-days", "0", "--forget-clients", "--dry-run")
        assert report.splitlines()[-1].startswith("0 bytes"), report
        self._look()

    def close(self) -> None:
        self.client.close()
        self.forks.close()


class _Conversion:
    """Variants of one model are being made; both workers die after a while."""

    def __init__(self, hub: Hub, repo: str, kill_after_s: float) -> None:
        self._hub, self._repo, self._busy = hub, repo, False
        self._killer = threading.Timer(kill_after_s, self._kill)
        self._killer.start()

    def finished(self) -> tuple[bool, dict[str, object]]:
        """Whether a worker was killed in the middle of a job, and the family once nothing is being made any more."""
        self._killer.join()
        return self._busy, self._hub.wait_family(self._repo)

    def _kill(self) -> None:
        for worker in self._hub.workers("heavy") + self._hub.workers("light"):
            with contextlib.suppress(psutil.Error):
                self._busy = self._busy or bool(worker.children())  # the sandbox of a job
                worker.kill()


def run(rounds: int, seed: int, minutes: float) -> None:
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="fithub-kills-"))
    hub = Hub(folder / "hub", FITHUB_LOG_LEVEL="WARNING", FITHUB_LEASE_SECONDS="3", FITHUB_ALLOWANCE_SECONDS="10")
    shaken = None
    try:
        hub.start()
        hub.add_user("alice")
        shaken = Shaken(hub, rng)
        created = hub.call("POST", "/api/repos/create", {"name": "shaken", "type": "model"}, token=shaken.token)
        assert created.status == 200, created.body
        acts = {
            shaken.round_of_upload: 16, shaken.round_of_commit: 20, shaken.round_of_xet: 16,
            shaken.round_of_chunking: 20, shaken.round_of_sweep: 20, shaken.round_of_conversion: 1,
        }  # fmt: skip
        began, done = time.monotonic(), 0
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        while done < rounds and time.monotonic() - began < minutes * 60 and not ended.is_set():
            # Each kind once first, so that a short run leaves none out.
            act = [*acts][done] if done < len(acts) else rng.choices([*acts], [*acts.values()])[0]
            act(done)
            done += 1
            if done % 50 == 0:
                print(f"… {done} rounds in {time.monotonic() - began:.0f} s", flush=True)
        shaken.finish()
        shaken.tally["web which took no connections was started anew"] = hub.log.count("nobody took connections")
        print(f"{done} rounds of kill -9 in {time.monotonic() - began:.0f} s, seed {seed}: nothing was lost")
        for what, count in sorted(shaken.tally.items()):
            print(f"  {count:>6} {what}")
    except BaseException:
        print(f"the hub's folder is kept: {folder}; the end of its log:\n{hub.log[-3000:]}", flush=True)
        raise
    finally:
        if shaken is not None:
            shaken.close()
        hub.stop()
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=600, help="begin no round after so many")
    parser.add_argument("--seed", type=int, default=20261127)
    options = parser.parse_args()
    run(options.rounds, options.seed, options.minutes)


if __name__ == "__main__":
    main()
