"""Pushing a changed file again, and counting what travels and what is kept."""

import random
import subprocess
import sys
from pathlib import Path

from tests.live.counting_proxy import CountingProxy
from tests.live.hub_process import Hub


def changed(data: bytes, seed: int, share: float = 0.05, regions: int = 5) -> tuple[bytes, int]:
    """Two bytes inserted in the middle, and `share` of the rest written anew in a few regions; with the bytes changed."""
    rng, out = random.Random(seed), bytearray(data)
    length = int(len(data) * share / regions)
    for number in range(regions):
        at = int(len(data) * (number + 0.3) / regions)
        out[at : at + length] = rng.randbytes(length)
    middle = len(out) // 2
    return bytes(out[:middle] + b"xy" + out[middle:]), length * regions + 2


def push(hub: Hub, proxy: CountingProxy, home: Path, path: Path, repo: str, user: str = "alice") -> tuple[int, int]:
    """Bytes (sent, got) on the wire by the stock client with an empty cache in `home`."""
    program = (
        "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1], exist_ok=True);"
        "api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo='model.bin', repo_id=sys.argv[1])"
    )
    environment = hub.client_environment(home, user) | {"HF_ENDPOINT": proxy.url}
    proxy.reset()
    done = subprocess.run(
        [sys.executable, "-c", program, repo, str(path)], env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return proxy.sent, proxy.got


def stored(hub: Hub) -> int:
    return sum(path.stat().st_size for path in (hub.data / "storage").rglob("*") if path.is_file())
