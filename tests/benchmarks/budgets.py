"""Random budgets over real models with variants: do the variants which are pulled really fit, and were there better ones?

python -m tests.benchmarks.budgets [--models 4] [--only WORD …] [--budgets 50] [--seconds 10] [--recipes-seconds 60] [--seed 0]

Pushes the smallest ONNX models of ../shared/assets to a hub of its own, waits for their families, and asks for budgets
drawn around the figures in their tables. REGRET: the answer is ranked below the best which a plain loop over the same table
finds, or one of them says that nothing fits. VIOLATION: the pulled variant, measured again by the client, takes more memory
or size than the budget (hard), or its p90 lies beyond the budget by more than the published spread (p90_high - p90), where both
records are quiet; one which the harness calls noisy is taken again, and what stays noisy is counted apart. Of the others is said
where the source, measured in both sessions, was slower too by more than the drift which measuring allows. BAR: none of both.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression_service.engine.measure.session import DRIFT_LIMIT, SOURCE
from tests.live.hub_process import PROJECT, Hub

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets" / "models"
MEMORY_MARGIN, THREADS = 1.10, 1
LIMITS = {
    "size": "size_bytes", "memory": "peak_memory_bytes", "latency": "p90_ms", "load": "load_ms", "fidelity": "fidelity",
    "throughput": "throughput_per_s",
}  # fmt: skip
LOWER = ("fidelity", "throughput")
TRIES = 3  # to get a quiet record when a variant is measured again


@dataclass(frozen=True)
class Row:
    """A variant's figures in the one place of this hub."""

    name: str
    figures: dict[str, float]  # by LIMITS' values, p50_ms and p90_high_ms
    is_proven: bool
    is_noisy: bool


@dataclass
class Count:
    budgets: int = 0
    answered: int = 0
    regrets: int = 0
    measured: int = 0  # variants, each once
    judged: int = 0  # pairs of a budget and the variant that it got, measured again
    hard: int = 0  # more memory or size than the budget
    slow: int = 0  # p90 beyond the budget and the spread, both records quiet
    noisy: int = 0  # the same, one of the two noisy
    slower: int = 0  # those of `slow` where the source was slower too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--budgets", type=int, default=50, help="of each model")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a variant is timed, on the hub and again")
    parser.add_argument("--recipes-seconds", type=int, default=60, help="processor time for each family")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="models with one of these words in their path, in that order"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, total = random.Random(options.seed), Count()
    by_size = sorted(ASSETS.glob("*/*.onnx"), key=lambda path: path.stat().st_size)
    paths = list(
        dict.fromkeys(path for word in options.only for path in by_size if word in str(path.relative_to(ASSETS)))
    )
    with tempfile.TemporaryDirectory(prefix="fithub-budgets-") as folder:
        settings = {"MEASURE_SECONDS": f"{options.seconds}", "ALLOWANCE_SECONDS": f"{options.recipes_seconds}"}
        hub = Hub(Path(folder), **{f"FITHUB_{key}": value for key, value in settings.items()}).start()
        client = install_client(Path(folder))
        sys.path.insert(0, client)
        # Windows of measuring are processes of their own: they too must find the client.
        os.environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": f"{folder}/home", "PYTHONPATH": client}
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        try:
            hub.add_user("alice")
            done = 0
            for path in paths:
                if done == options.models:
                    break
                name = f"alice/{path.parent.name}-{path.stem}".replace("_", "-")
                rows = family(hub, name, path)
                if len(rows) < 2:
                    print(f"{name}: left out, {len(rows)} variants with figures")
                    continue
                done += 1
                one = try_budgets(hub, name, rows, options, rng)
                print(
                    f"{name}: {len(rows)} variants, {one.budgets} budgets, {one.answered} answered, regret"
                    f" {one.regrets}; {one.measured} pulled and measured again: {_violations(one)}", flush=True,
                )  # fmt: skip
                for key, value in vars(one).items():
                    setattr(total, key, getattr(total, key) + value)
        finally:
            hub.stop()
    print(
        f"load average {os.getloadavg()[0]:.1f}; {done} models, {total.budgets} budgets, {total.answered} answered: regret"
        f" {total.regrets} (BAR 0); {total.measured} variants measured again: {_violations(total)} (BAR 0)"
    )


def _violations(count: Count) -> str:
    words = f"violations of {count.judged} budgets: memory or size {count.hard}, p90 {count.slow} (the source slower too in {count.slower})"
    return f"{words}, p90 by a noisy record {count.noisy}"


def install_client(folder: Path) -> str:
    """The client out of a copy (its link followed) in a folder of its own, where this environment's packages serve it."""
    shutil.copytree(PROJECT / "client", folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build"))
    argv = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "client"), str(folder / "source")]
    subprocess.run([sys.executable, *argv], check=True)
    return str(folder / "client")


def family(hub: Hub, name: str, path: Path) -> list[Row]:
    """Push one model and wait; its ready variants with figures on this machine and one thread."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(path.read_bytes())
        hub.push(name, Path(folder))
    rows = []
    for variant in hub.wait_family(name)["variants"]:
        for record in variant["footprints"]:
            latency = record["latency_ms"]
            if variant["status"] == "ready" and record["threads"] == THREADS and latency["p90"] is not None:
                figures = {
                    key: record[key] for key in ("size_bytes", "peak_memory_bytes", "fidelity", "throughput_per_s")
                }
                figures |= {f"{key}_ms": latency[key] or latency["p90"] for key in ("p50", "p90", "p90_high")}
                figures["load_ms"] = record["load_ms"]["warm"]
                is_proven = not record["noisy"] and not record["stale"]
                rows.append(Row(variant["name"], figures, is_proven, record["noisy"]))
    return rows


def try_budgets(hub: Hub, name: str, rows: list[Row], options: argparse.Namespace, rng: random.Random) -> Count:
    count, chosen = Count(), dict[str, list[dict[str, float]]]()
    for _ in range(options.budgets):
        limits = drawn(rows, rng)
        answer = hub.call("GET", f"/api/models/{name}/fit?" + "&".join(f"{k}={v!r}" for k, v in limits.items())).json()
        best = brute_force(rows, limits)
        count.budgets += 1
        count.answered += answer["variant"] is not None
        found = next((row for row in rows if row.name == answer["variant"]), None)
        if (found is None) != (best is None) or (found and best and _rank(found) != _rank(best)):
            count.regrets += 1
            print(f"{name} {limits}: {answer['variant']}, but {best.name if best else 'nothing'} is best", flush=True)
        if found:
            chosen.setdefault(found.name, []).append(limits)
    for variant, asked in chosen.items():
        count.measured += 1
        published, source = (next(row for row in rows if row.name == wanted) for wanted in (variant, SOURCE))
        again, drift = measured_again(name, variant, options.seconds, source)
        is_noisy = again["noisy"] or published.is_noisy
        worst: dict[str, str] = {}
        for limits in asked:
            count.judged += 1
            for kind, words in violated(limits, again, published).items():
                counter = "hard" if kind != "latency" else "noisy" if is_noisy else "slow"
                count.slower += counter == "slow" and drift > DRIFT_LIMIT
                setattr(count, counter, getattr(count, counter) + 1)
                worst[kind] = f"{limits}: {words}"
        for words in worst.values():
            print(
                f"{name} {variant} {words} (noise: {again['noise'] or is_noisy}; source {drift:+.1%})"[:300], flush=True
            )
    return count


def drawn(rows: list[Row], rng: random.Random) -> dict[str, float]:
    """One to four limits around figures of one of the variants: a little above, or below all of them."""
    row = rng.choice(rows)
    limits: dict[str, float] = {}
    for key in rng.sample(sorted(LIMITS), rng.randint(1, 4)):
        figure = row.figures[LIMITS[key]]
        if key == "fidelity":
            limits[key] = round(max(0.5, figure - rng.choice((0.0, 0.001, 0.01))), 4)
        elif key in ("latency", "load", "throughput"):
            limits[key] = float(f"{figure * rng.uniform(0.7, 2):.4g}")
        else:
            limits[key] = int(figure * rng.uniform(0.9, 1.6))
    return limits


def brute_force(rows: list[Row], limits: dict[str, float]) -> Row | None:
    """measuring.md §3 as a plain loop: hard limits, proven first, then fidelity, p90, memory, size."""
    fitting = [row for row in rows if all(_passes(key, allowed, row) for key, allowed in limits.items())]
    return min(fitting, key=_rank, default=None)


def _passes(key: str, allowed: float, row: Row) -> bool:
    figure = row.figures[LIMITS[key]]
    if key in LOWER:
        return figure >= allowed
    return figure * (MEMORY_MARGIN if key == "memory" else 1) <= allowed


def _rank(row: Row) -> tuple[float, ...]:
    figures = row.figures
    return (
        not row.is_proven,
        -figures["fidelity"],
        figures["p90_ms"],
        figures["peak_memory_bytes"],
        figures["size_bytes"],
    )


def measured_again(name: str, variant: str, seconds: float, source: Row) -> tuple[dict[str, Any], float]:
    """(The variant's record, by how much the source was slower beside it than in the hub's); a quiet one if there is."""
    from fithub import remeasuring

    for _ in range(TRIES):
        taken = remeasuring.measure(name, variant=variant, threads=THREADS, seconds=seconds)
        records = {record["variant"]: dict(record) for record in taken["records"]}
        drift = records[SOURCE]["latency_ms"]["p50"] / source.figures["p50_ms"] - 1
        if not records[variant]["noisy"]:
            break
    return records[variant], drift


def violated(limits: dict[str, float], again: dict[str, Any], published: Row) -> dict[str, str]:
    """By which limits, each in words."""
    spread_ms = published.figures["p90_high_ms"] - published.figures["p90_ms"]
    p90_ms = again["latency_ms"]["p90"] or 0.0
    found = {
        "size": (again["size_bytes"], limits.get("size")),
        "memory": (again["peak_memory_bytes"], limits.get("memory")),
        "latency": (p90_ms, limits["latency"] + spread_ms if "latency" in limits else None),
    }
    return {key: f"{key} {value:g} beyond {most:g}" for key, (value, most) in found.items() if most and value > most}


if __name__ == "__main__":
    main()
