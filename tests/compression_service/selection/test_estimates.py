"""Estimates for devices without records: they find the law that made the figures, and say how wrong they are."""

import random
from dataclasses import replace

import pytest
from django.utils import timezone

from compression_service.devices.models import Device
from compression_service.devices.services import record_device
from compression_service.selection import estimates, estimating, ladders
from compression_service.selection.estimates import Model, Speeds, Taken
from compression_service.selection.models import Offer, SpeedModel
from compression_service.selection.offers import refresh_lagging
from compression_service.variants.models import Catalogue, Footprint, Variant
from compression_service.variants.services import quarantine
from tests.factories import make_family

MB = 1_000_000
DEVICES = {
    "fast": Speeds(100.0, 300.0, 20.0, 5.0),
    "middle": Speeds(50.0, 100.0, 12.0, 9.0),
    "slow": Speeds(10.0, 15.0, 4.0, 30.0),
    "tiny": Speeds(4.0, 8.0, 2.0, 60.0),
}


def by_the_law(speeds, flops, calls, size_bytes, is_int8, noise=1.0):
    """Computing + calls + weights moved once, in ms."""
    speed = 0.5 * speeds.int8_gops + 0.5 * speeds.fp32_gflops if is_int8 else speeds.fp32_gflops
    return noise * (flops / speed / 1e6 + calls * speeds.dispatch_us / 1e3 + size_bytes / 1e6 / speeds.copy_gb_s)


def records(noise=0.0, seed=0):
    rng = random.Random(seed)
    found = []
    for number in range(12):
        flops, size, is_int8 = 10 ** rng.uniform(5, 9), int(10 ** rng.uniform(4, 7)), number % 3 == 0
        for name, speeds in DEVICES.items():
            p90 = by_the_law(speeds, flops, 2.0, size, is_int8, 1 + rng.uniform(-noise, noise))
            found.append(Taken(f"v{number}", is_int8, name, 1, size, p90, 60 * MB + 2 * size))
    return found


SPEEDS = {(name, 1): speeds for name, speeds in DEVICES.items()}


def test_the_law_which_made_the_figures_is_found_again():
    floats = [one for one in records() if not one.is_int8]
    model = estimates.fit(floats, SPEEDS)
    assert model.calls == pytest.approx(2.0, rel=0.05) and model.moves == pytest.approx(1.0, rel=0.05)
    assert model.latency_error["p90"] < 0.01 and model.memory_error["p90"] == 0.0
    assert model.latency_error["count"] == len(floats)


def test_the_error_is_that_of_devices_which_were_not_seen():
    quiet, noisy = (estimates.fit(records(noise), SPEEDS) for noise in (0.0, 0.3))
    assert quiet.latency_error["median"] < 0.15 < noisy.latency_error["p90"]


def test_a_source_measured_in_both_places_tells_more_than_any_law():
    """Devices which the law does not describe: each has a factor of its own for each model."""
    rng, found = random.Random(1), []
    for number in range(8):
        for name in DEVICES:
            own = rng.uniform(0.3, 3.0)
            for variant, share in (("onnx", 1.0), ("fp16", 0.8), ("int8", 0.4)):
                p90 = own * share * (1 + number)
                found.append(
                    Taken(f"{number}{variant}", False, name, 1, 10**6, p90, 60 * MB, str(number), variant == "onnx")
                )
    model = estimates.fit(found, SPEEDS)
    assert model.sibling_error["p90"] < 1e-9 < 0.3 < model.latency_error["median"]
    assert model.sibling_error["count"] == 8 * 2 * 4 * 3, "each variant but the source, from each device to each other"
    assert estimates.fit([one for one in found if not one.is_source], SPEEDS).sibling_error is None


def test_integers_become_faster_by_a_ratio_of_their_own():
    one, source = Taken("q", True, "fast", 1, 1, 4.0, 1), Taken("s", False, "fast", 1, 1, 8.0, 1)
    here = Taken("s", False, "slow", 1, 1, 80.0, 1)
    fast, slow = DEVICES["fast"], DEVICES["slow"]
    assert estimates.by_sibling(one, source, here) == 40.0
    ratio = estimates.speed_ratio(one, source, fast, slow, 1.0)
    assert ratio == pytest.approx((300 / 15) / (100 / 10)), "8-bit integers lose more than floats from fast to slow"
    assert (
        estimates.speed_ratio(one, source, fast, slow, 0.0)
        == estimates.speed_ratio(one, source, None, slow, 1.0)
        == 1.0
    )
    assert estimates.speed_ratio(source, source, fast, slow, 1.0) == 1.0


def test_nothing_to_fit_on_is_no_error_and_says_that_it_was_not_measured():
    model = estimates.fit([one for one in records() if one.device == "fast"], SPEEDS)
    assert model == Model() and model.latency_error is None
    assert estimates.fit([], {}).latency_error is None


def test_computing_alone_goes_by_the_ratio_of_speeds():
    taken = Taken("v", False, "fast", 1, 0, 2.0, 1)
    assert estimates.latency_ms(Model(), taken, DEVICES["fast"], DEVICES["slow"]) == pytest.approx(20.0)
    assert estimates.latency_ms(Model(), taken, DEVICES["fast"], DEVICES["fast"]) == pytest.approx(2.0)


QUOTA = ((0.1, 0.1), (0.19, 0.19), (0.21, 8.21), (2.0, 10.0), (20.0, 100.0))  # 2 ms in 10


def limited(speeds):
    return replace(speeds, stretch=QUOTA)


def test_a_quota_stretches_long_inferences_only_and_is_taken_out_again():
    fast, box = DEVICES["fast"], limited(DEVICES["fast"])
    short, long = (Taken("v", False, "fast", 1, 0, p90, 1) for p90 in (0.05, 2.0))
    assert estimates.latency_ms(Model(), short, fast, box) == pytest.approx(0.05)
    assert estimates.latency_ms(Model(), long, fast, box) == pytest.approx(10.0)
    there = Taken("v", False, "box", 1, 0, 10.0, 1)
    assert estimates.latency_ms(Model(), there, box, DEVICES["slow"]) == pytest.approx(20.0), "2 ms, ten times slower"
    assert estimates.latency_ms(Model(), there, box, limited(DEVICES["slow"])) == pytest.approx(100.0)
    edge = replace(there, p90_ms=8.5)  # of the curve alone: 0.3 ms or so
    assert estimates.own_ms(edge, box) < 0.4
    assert estimates.own_ms(replace(edge, cpu_ms=1.1), box) == 1.1, "the record's own processor time knows better"
    assert estimates.own_ms(replace(edge, cpu_ms=1.1, threads=2), box) < 0.4, "of two threads it is the sum"
    assert estimates.own_ms(replace(edge, cpu_ms=1e6), box) < 0.4, "which cannot be"


def test_how_many_inferences_meet_a_pause_is_told_by_a_typical_one():
    fast, box = DEVICES["fast"], limited(DEVICES["fast"])
    taken = Taken("v", False, "fast", 1, 0, 0.25, 1, cpu_ms=0.24)
    assert estimates.latency_ms(Model(), taken, fast, box) > 2.0
    typical = replace(taken, p50_ms=0.18)
    assert estimates.latency_ms(Model(), typical, fast, box) == pytest.approx(0.25), "nine in ten are over in time"
    there = replace(typical, device="box", p90_ms=9.0, p50_ms=8.2)
    assert estimates.latency_ms(Model(), there, box, box) > 2.0, "a p50 which was held up itself says nothing"


def test_where_a_tenth_may_meet_a_pause_the_shorter_time_is_taken():
    fast, box = DEVICES["fast"], limited(DEVICES["fast"])
    at_the_edge = Taken("v", False, "fast", 1, 0, 0.2, 1)
    assert estimates.latency_ms(Model(), at_the_edge, fast, box) == pytest.approx(0.2)


def test_what_makes_some_runs_slow_there_does_so_here():
    fast, slow, box = DEVICES["fast"], DEVICES["slow"], limited(DEVICES["fast"])
    taken = Taken("v", False, "fast", 1, 0, 0.12, 1, cpu_ms=0.1)
    assert estimates.latency_ms(Model(), taken, fast, slow) == pytest.approx(1.2)
    bad_hour = replace(taken, p90_ms=0.9)
    assert estimates.latency_ms(Model(), bad_hour, fast, slow) == pytest.approx(estimates.MOST_SPREAD)
    there = Taken("v", False, "box", 1, 0, 10.0, 1, cpu_ms=2.0)  # what the limit costs is none of it
    assert estimates.latency_ms(Model(), there, box, slow) == pytest.approx(20.0)
    source, here = Taken("s", False, "fast", 1, 0, 1.0, 1), Taken("s", False, "slow", 1, 0, 12.5, 1, cpu_ms=10.0)
    assert estimates.by_sibling(taken, source, here, 1.0, fast, slow) == pytest.approx(1.25), "as runs are slow here"


SMALL_GAIN = ((16, 0.01, 0.01, 0.01), (64, 0.03, 0.03, 0.03), (256, 1.0, 1.0, 1.0), (512, 8.0, 8.0, 8.0))
TWICE_AS_MANY_CORES = ((16, 0.01, 0.01, 0.015), (64, 0.029, 0.03, 0.04), (256, 0.6, 0.6, 0.7), (512, 4.0, 4.0, 4.2))


def test_small_models_gain_by_more_cores_what_small_networks_gain():
    one = replace(DEVICES["fast"], ladder=ladders.known(SMALL_GAIN))
    two = replace(DEVICES["fast"], fp32_gflops=200.0, int8_gops=600.0, ladder=ladders.known(TWICE_AS_MANY_CORES))
    small, large = (
        Taken("v", False, "one", 1, 0, p90, 1, cpu_ms=own, p50_ms=own) for own, p90 in ((0.01, 0.03), (8, 9))
    )
    assert estimates.latency_ms(Model(), small, one, two) == pytest.approx(0.015), "slow runs are those of here"
    assert estimates.latency_ms(Model(), large, one, two) == pytest.approx(4.2)
    assert estimates.latency_ms(Model(), large, one, replace(two, ladder=())) == pytest.approx(4.5), "by peaks alone"
    quantized = replace(large, is_int8=True)
    slow_integers = replace(two, int8_gops=300.0)
    assert estimates.latency_ms(Model(int8_share=1.0), quantized, one, slow_integers) > 8.0


def test_calls_are_in_the_ladders_and_not_fitted_beside_them():
    on = {
        (name, 1): replace(
            speeds,
            ladder=ladders.known(
                [[s, *[speeds.dispatch_us / 1e3 + s**3 / speeds.fp32_gflops / 1e5] * 3] for s in (16, 64, 256, 512)]
            ),
        )
        for name, speeds in DEVICES.items()
    }
    taken = [
        Taken(f"v{side}", False, name, 1, 0, ladders.at(speeds.ladder, side).typical_ms, 1)
        for (name, _), speeds in on.items()
        for side in (20, 50, 100, 300)
    ]
    model = estimates.fit(taken, on)
    assert model.calls == 0.0 and model.latency_error["p90"] < 0.01
    plain = estimates.fit(taken, {place: replace(speeds, ladder=()) for place, speeds in on.items()})
    assert plain.latency_error["p90"] > model.latency_error["p90"]


def test_ratios_to_the_source_are_those_of_processor_time_where_a_device_is_limited():
    fast, box = DEVICES["fast"], limited(DEVICES["fast"])
    source, variant = (Taken(name, False, "fast", 1, 0, p90, 1) for name, p90 in (("s", 2.0), ("v", 0.1)))
    here = Taken("s", False, "box", 1, 0, 10.0, 1)
    assert estimates.by_sibling(variant, source, here, 1.0, fast, box) == pytest.approx(0.1)
    assert estimates.by_sibling(variant, source, here) == pytest.approx(0.5), "where nobody knows the limit"


def test_calls_and_bytes_are_not_fitted_to_the_noise_of_devices_which_are_alike():
    rng, same = random.Random(2), {}
    for name in "abcd":
        same[name, 1] = Speeds(*(speed * rng.uniform(0.98, 1.02) for speed in (100.0, 300.0, 20.0, 5.0)))
    taken = [
        Taken(f"v{number}", False, name, 1, 10**6, 0.03 * 3**number * rng.uniform(0.9, 1.3), 1)
        for number in range(6)
        for name in "abcd"
    ]
    model = estimates.fit(taken, same)
    assert (model.calls, model.moves) == (0.0, 0.0) and model.latency_error["p90"] < 0.5


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"measured": None},
        {"measured": {"threads": {"1": {"fp32_gflops": 0}}}},
        {"measured": 3},
        {"measured": {"threads": {"1": dict.fromkeys(("fp32_gflops", "int8_gops", "copy_gb_s", "dispatch_us"), 1e30)}}},
    ],
)
def test_a_profile_without_sensible_speeds_gives_none(profile):
    assert estimates.speeds_of(profile, 1) is None


def profile(speeds):
    return {"cores": 4, "clock_mhz": 3000.0, "instruction_sets": ["avx2"], "measured": {"threads": {"1": {
        "fp32_gflops": speeds.fp32_gflops, "int8_gops": speeds.int8_gops, "copy_gb_s": speeds.copy_gb_s,
        "dispatch_us": speeds.dispatch_us,
    }}}}  # fmt: skip


@pytest.fixture
def family(model):
    make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)}, "fast")
    record_device("fast", profile(DEVICES["fast"]))
    record_device("slow", profile(DEVICES["slow"]), Device.Origin.SENT)
    record_device("bare", {"cores": 4}, Device.Origin.SENT)


def fit(client, query):
    return client.get("/api/models/alice/m/fit?" + query).json()


def test_a_device_without_records_gets_a_likely_answer_which_says_why(anonymous, family):
    body = fit(anonymous, "device=slow&memory=150MB")
    assert (body["variant"], body["answer"]) == ("onnx", "likely")
    assert body["figures"]["trust"] == "estimated" and body["figures"]["estimated_from"] == "fast"
    assert body["figures"]["p90_ms"] == pytest.approx(40.0) and body["figures"]["measured_at"] is None
    assert any("nobody measured how wrong" in reason for reason in body["reasons"])
    assert fit(anonymous, "device=slow&latency=1ms")["answer"] == "none"


def test_a_device_with_a_quota_is_estimated_as_it_is_limited(anonymous, family):
    box = profile(DEVICES["fast"])
    box["measured"]["threads"]["1"] |= {"share": 0.2, "stretch": [list(point) for point in QUOTA]}
    record_device("box", box, Device.Origin.SENT)
    Footprint.objects.update(p50_ms=None)
    figures = fit(anonymous, "device=box&memory=150MB")["figures"]
    assert figures["p90_ms"] == pytest.approx(20.0) and figures["throughput_per_s"] == pytest.approx(50.0)
    for row in Footprint.objects.filter(variant__name="int8"):
        row.p90_ms = 0.1
        row.save()
    Catalogue.objects.update(version=99)
    figures = fit(anonymous, "device=box&size=100KB")["figures"]
    assert figures["p90_ms"] == pytest.approx(0.1), "it is over before the quota is"
    assert figures["throughput_per_s"] == pytest.approx(2000.0), "but endless work gets a fifth of the time"


def test_a_device_whose_speeds_nobody_knows_is_not_estimated(anonymous, family):
    assert fit(anonymous, "device=bare&memory=1GB")["answer"] == "none"
    assert fit(anonymous, "device=bare&size=1MB")["answer"] == "unknown"


def test_a_datasheet_is_scaled_by_what_the_reference_reaches_of_its_own_peak(anonymous, family):
    body = fit(anonymous, "device=rpi5&memory=512MB")
    assert body["answer"] == "likely" and body["figures"]["estimate_error"] is None
    # 100 of the 96 Gop/s peak at 3 GHz × 32: the same share of 2.4 GHz × 16
    assert body["figures"]["p90_ms"] == pytest.approx(4.0 * 100 / (100 / 96 * 2.4 * 16))


def test_own_records_are_never_estimated(anonymous, family):
    assert fit(anonymous, "device=fast&memory=1GB")["figures"]["trust"] == "verified"
    assert fit(anonymous, "memory=1GB")["answer"] == "proven"


def test_the_sweeper_fits_once_there_are_two_devices_and_the_error_is_shown(anonymous, family):
    assert estimating.refit() is None and not SpeedModel.objects.exists()
    middle = record_device("middle", profile(DEVICES["middle"]))
    for row in Footprint.objects.filter(device__name="fast"):
        row.pk, row.device, row.p90_ms = None, middle, row.p90_ms * 2
        row.save()
    Catalogue.objects.update(version=99)
    model = estimating.refit()
    assert model is not None and model.pairs == 4 and estimating.refit() is None
    assert estimating.current_model() == model and Variant.objects.count() == 2
    body = fit(anonymous, "device=slow&memory=1GB")
    assert body["figures"]["estimated_from"] == "middle" and body["figures"]["estimate_error"] is not None
    assert any("in tests" in reason for reason in body["reasons"])


def test_a_variant_is_estimated_by_the_ratio_of_its_source_on_both_devices(anonymous, model):
    """Also where nobody measured the device's speeds."""
    made = make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "fp16": (200_000, 2.0, 80 * MB, 0.999)})
    there = record_device("their-box", {"cores": 2}, Device.Origin.SENT)
    source = Footprint.objects.get(variant__name="onnx")
    source.pk, source.device, source.p90_ms, source.trust = None, there, 12.0, "reported"
    source.save()
    Catalogue.objects.update(version=99)
    SpeedModel.objects.create(
        fitted=vars(Model(pairs=4, sibling_error={"median": 0.02, "p90": 0.07, "count": 9})),
        newest_record=made.created_at,
    )
    body = anonymous.get("/api/models/alice/m/fit?device=their-box&latency=7ms").json()
    assert (body["variant"], body["answer"]) == ("fp16", "likely")
    assert body["figures"]["p90_ms"] == 6.0 and body["figures"]["estimated_by"] == "onnx"
    reasons = " ".join(body["reasons"])
    assert "estimated from test-2c by the ratio of onnx, 9 of 10 within 7%" in reasons
    source.noisy = True
    source.save()
    Catalogue.objects.update(version=100)
    body = anonymous.get("/api/models/alice/m/fit?device=their-box&latency=7ms").json()
    assert body["answer"] == "none", "a disturbed record gives no ratio"


def across(client, query):
    answer = client.get("/api/fit?" + query)
    assert answer.status_code == 200, answer.content
    return [(row["variant"], row["answer"], row["figures"]) for row in answer.json()["results"]]


def swept():
    """The sweeper's part: how many models' offers were written anew."""
    return refresh_lagging() + refresh_lagging()


@pytest.mark.parametrize(
    "query",
    [f"device={device}&{limits}" for device in ("rpi5", "n100", "fast", "worker-2") for limits in
     ("memory=100MB", "latency=5ms", "size=200KB", "latency=1us", "goal=latency", "memory=1GB&threads=2", "memory=1GB&energy=1J")],
)  # fmt: skip
def test_across_models_estimates_give_the_answer_which_each_model_gives_itself(anonymous, family, query):
    record_device("worker-2", profile(DEVICES["slow"]), Device.Origin.WORKER)
    Device.objects.filter(name="fast").update(seen_at=timezone.now())  # the default device
    swept()
    own = fit(anonymous, query)
    expected = [(own["variant"], own["answer"])] if own["variant"] else []
    assert [row[:2] for row in across(anonymous, query)] == expected
    for _, _, figures in across(anonymous, query):
        assert {key: own["figures"][key] for key in ("p90_ms", "trust", "estimated_from")} == {
            key: figures[key] for key in ("p90_ms", "trust", "estimated_from")
        }


def test_estimated_offers_follow_the_fit_and_profiles_and_nothing_else(anonymous, family):
    swept()
    assert swept() == 0
    ((_, answer, before),) = across(anonymous, "device=rpi5&memory=1GB")
    assert answer == "likely" and before["estimated_from"] == "fast" and before["estimate_error"] is None
    newer = record_device("worker-2", profile(DEVICES["slow"]), Device.Origin.WORKER)
    assert swept() == 1 and swept() == 0
    # The newest worker is the default now: without records there it has none, and a budget without a device stays so.
    assert across(anonymous, "memory=1GB") == [] and not Offer.objects.filter(device=newer.name).exists()
    SpeedModel.objects.create(fitted=vars(Model(calls=100.0, pairs=9)), newest_record=newer.seen_at)
    assert swept() == 1
    ((_, _, after),) = across(anonymous, "device=rpi5&memory=1GB")
    assert after["p90_ms"] != before["p90_ms"]
    record_device("phone", profile(DEVICES["slow"]), Device.Origin.SENT)
    assert swept() == 0, "what people send makes no work for all models"


def test_listings_count_estimates_too_and_a_quarantined_variant_has_none(anonymous, family):
    swept()
    listed = anonymous.get("/api/models?fits=device%3Drpi5,memory%3D1GB").json()
    assert [row["id"] for row in listed] == ["alice/m"]
    for variant in Variant.objects.all():
        quarantine(variant, "it broke")
    assert across(anonymous, "device=rpi5&memory=1GB") == []
