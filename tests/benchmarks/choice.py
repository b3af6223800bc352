"""Processor time of `/fit` with 50 variants and of `/api/fit` across 10,000 models, by the site's WSGI application.

python -m tests.benchmarks.choice [--models 10000] [--variants 10] [--rounds 60]

Warm, on SQLite, in one process; what is counted is the processor time of that process (median). The yardstick is a route
which does not exist: it passes the same middleware. BAR is what issue 5 allows, in ms.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from typing import Any

PLACES = (("test-2c", 0, "verified"), ("raspberry-pi-5", 1, "estimated"))  # device, level of offers.py, trust
BARS = {"fit of one model": 2.0, "across": 20.0, "listing": 20.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--variants", type=int, default=10, help="of each of the many models")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fithub-choice-") as folder:
        os.environ |= {"FITHUB_DATA": folder, "DJANGO_SETTINGS_MODULE": "hub.settings", "FITHUB_LOG_LEVEL": "ERROR"}
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        fill(options.models, options.variants)
        report(options)


def fill(models: int, variants: int) -> None:
    """One model with 50 variants and many with a few, their figures drawn over three decades."""
    from django.utils import timezone

    from compression_service.devices.services import record_device
    from compression_service.selection.models import Offer
    from compression_service.selection.offers import without_beaten
    from models_registry.repos.models import Repository, RepoType
    from tests.factories import make_family, make_repository, make_user

    owner, rng = make_user("alice"), random.Random(0)
    speeds = {"fp32_gflops": 100.0, "int8_gops": 300.0, "copy_gb_s": 20.0, "dispatch_us": 5.0}
    profile = {"cores": 2, "clock_mhz": 3000.0, "instruction_sets": ["avx2"], "measured": {"threads": {"1": speeds}}}
    one = make_repository(owner, "fifty")
    make_family(one, {f"v{n:02}": _figures(rng) for n in range(50)})
    record_device("test-2c", profile)
    space, now = owner.namespace, timezone.now()
    rows = [
        Repository(
            namespace=space,
            name=f"m{n:06}",
            type=RepoType.MODEL,
            creator=owner,
            last_modified=now,
            full_name=f"alice/m{n:06}",
        )
        for n in range(models)
    ]
    for row, made in zip(rows, Repository.objects.bulk_create(rows, batch_size=500), strict=True):
        row.pk = made.pk
    offers = []
    for row in rows:
        own = []
        for number in range(variants):
            size, p90_ms, memory, fidelity = _figures(rng)
            for (device, level, trust), threads in product(PLACES, (1, 2)):
                own.append(
                    Offer(
                        repository=row, variant=f"v{number}", commit="0" * 40, device=device, threads=threads,
                        runtime="onnxruntime-1.31.0", opset=17, level=level, loss=1 - fidelity, p90_ms=p90_ms,
                        peak_memory_bytes=memory, size_bytes=size, load_warm_ms=p90_ms, throughput_per_s=1000 / p90_ms,
                        energy_mj=Offer.UNKNOWN, energy_is_estimated=False, trust=trust,
                    )
                )  # fmt: skip
        offers += without_beaten(own)  # as they are kept
    Offer.objects.bulk_create(offers, batch_size=2000)


def _figures(rng: random.Random) -> tuple[int, float, int, float]:
    size = int(10 ** rng.uniform(5, 8))
    return size, 10 ** rng.uniform(-1, 2), 60_000_000 + 2 * size, 1 - 10 ** rng.uniform(-5, -1)


def report(options: argparse.Namespace) -> None:
    from django.test import Client

    from compression_service.selection.models import Offer
    from compression_service.selection.offers import refresh_offers
    from models_registry.repos.models import Repository

    client = Client()

    def get(path: str) -> Callable[[], Any]:
        return lambda: client.get(path)

    many = f"across {options.models:,} models"
    listed = f"listing of {options.models:,} models"
    calls = {
        "fit of one model, 50 variants": get("/api/models/alice/fifty/fit?memory=150MB&latency=5ms"),
        f"{many}: most fit": get("/api/fit?memory=1GB"),
        f"{many}: some fit": get("/api/fit?memory=80MB&latency=1ms&fidelity=0.99"),
        f"{many}: one in a thousand fits": get("/api/fit?memory=61MB&latency=0.15ms&fidelity=0.999"),
        f"{many}: none fits": get("/api/fit?memory=1MB"),
        f"{many}: some fit, estimated": get("/api/fit?memory=80MB&latency=1ms&fidelity=0.99&device=rpi5"),
        f"{many}: none fits, estimated": get("/api/fit?memory=1MB&device=rpi5"),
        f"{many}: goal=size": get("/api/fit?latency=1ms&goal=size"),
        f"{listed}: fits=": get("/api/models?fits=memory%3D80MB,latency%3D1ms&limit=20"),
    }
    yardstick = get("/api/no-such-route")
    one = Repository.objects.get(name="fifty")
    spent = [_cpu_ms(lambda: refresh_offers(one)) for _ in range(options.rounds)]
    kept = Offer.objects.filter(repository=one).count()
    print(f"the offers of 50 variants written anew, {kept} kept: {statistics.median(spent):.0f} ms")
    print(f"{'call':<58}{'processor':>12}{'route':>10} {'BAR':>6}")
    for name, call in calls.items():
        assert call().status_code == 200, name
        mine, theirs = [], []
        for _ in range(options.rounds):
            mine.append(_cpu_ms(call))
            theirs.append(_cpu_ms(yardstick))
        bar = next((bar for start, bar in BARS.items() if name.startswith(start)), "")
        print(f"{name:<58}{statistics.median(mine):>9.2f} ms{statistics.median(theirs):>7.2f} ms {bar:>6}", flush=True)


def _cpu_ms(call: Callable[[], Any]) -> float:
    began = time.process_time_ns()
    call()
    return (time.process_time_ns() - began) / 1e6


if __name__ == "__main__":
    main()
