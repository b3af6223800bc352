"""A large file pushed again after 2 bytes were inserted in the middle and 5 % changed elsewhere: bytes on the wire."""

import os
import random
import tempfile
from pathlib import Path

from tests.live.counting_proxy import CountingProxy
from tests.live.hub_process import Hub
from tests.live.repushing import changed, push, stored

MB = 1024 * 1024
SIZE_MB = int(os.environ.get("BENCHMARK_REPUSH_MB", "500"))


def run(database: str, hub: Hub) -> None:
    """Print bytes sent over bytes changed; 1.5 is the bar."""
    with tempfile.TemporaryDirectory(prefix="fithub-bench-") as name, CountingProxy(hub.port) as proxy:
        folder = Path(name)
        first = b"".join(map(random.Random(0).randbytes, [MB] * SIZE_MB))
        (folder / "first").write_bytes(first)
        push(hub, proxy, folder / "one", folder / "first", "alice/tuned")
        for number, (what, home) in enumerate((("the same machine", "one"), ("a fresh machine", "two")), 1):
            tuned, changed_bytes = changed(first, number)
            (folder / "tuned").write_bytes(tuned)
            before = stored(hub)
            sent, _ = push(hub, proxy, folder / home, folder / "tuned", "alice/tuned")
            text = f"re-push of {SIZE_MB} MB from {what}: {sent:,} bytes sent for {changed_bytes:,} changed"
            kept = (stored(hub) - before) / changed_bytes
            print(f"{database:<10} {text}   {sent / changed_bytes:.2f} (kept {kept:.2f})", flush=True)
