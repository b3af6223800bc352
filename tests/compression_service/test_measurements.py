"""Measurements from people's machines: trust marks, and everything forged, impossible, replayed or flooded."""

import copy
import random
import statistics
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from compression_service.devices import measurements, records
from compression_service.devices.models import Device, Measurement
from compression_service.engine.measure import session
from compression_service.variants.models import Catalogue, Footprint, Variant
from models_registry.accounts.throttles import Limit
from tests.factories import make_family, make_user

MB = 1_000_000
URL = "/api/models/alice/m/measurements"


@pytest.fixture
def family(model):
    made = make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)})
    for variant in Variant.objects.all():
        variant.components = [{"name": "model", "path": f"{variant.name}.txt"}]
        variant.files[0]["sha256"] = f"{variant.pk:064x}"
        variant.save()
    return made


def sending(seed=0, scale=1.0, device="alices-laptop", names=("int8",), **changes):
    rng = random.Random(seed)
    made = []
    for name in names:
        samples = [round(scale * (1 + rng.random() / 10), 6) for _ in range(200)]
        ordered = sorted(samples)
        made.append({
            "variant": name, "threads": 1, "samples_ms": samples, "peak_memory_bytes": 81 * MB, "baseline_memory_bytes": 60 * MB,
            "size_bytes": 100_000, "latency_ms": {"p50": (ordered[99] + ordered[100]) / 2, "p90": ordered[179] + 0.1 * (ordered[180] - ordered[179]), "count": 200},
        })  # fmt: skip
    files = {v.name: {"files": {f"{v.name}.txt": f"{v.pk:064x}"}} for v in Variant.objects.all()}
    identity = {
        "harness": records.HARNESSES[-1], "versions": {"onnxruntime": "1.31.0"}, "variants": files,
        "measured_at": timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    profile = {"name": device, "cores": 4, "memory_bytes": 8 * 10**9, "processor": "A processor"}
    return {"device": profile, "identity": identity, "records": made} | changes


def post(client, body):
    return client.post(URL, body, content_type="application/json")


def trust_of(name="int8", device="alices-laptop"):
    row = Footprint.objects.get(variant__name=name, device__name=device)
    return row.trust, row.disputed


def test_one_sender_is_reported_two_who_agree_confirm_and_two_who_do_not_raise_a_flag(as_alice, as_bob, family):
    before = Catalogue.objects.get().version
    answer = post(as_alice, sending(1))
    assert answer.status_code == 201 and answer.json()["taken"][0]["trust"] == "reported", answer.content
    assert trust_of() == ("reported", False) and Catalogue.objects.get().version > before
    post(as_alice, sending(2))  # the same sender again confirms nothing
    assert trust_of() == ("reported", False)
    assert post(as_bob, sending(3, scale=1.1)).json()["taken"][0]["trust"] == "confirmed"
    answer = post(as_bob, sending(4, scale=1.5)).json()
    assert answer["taken"][0]["disputed"] and "flag" in answer["sentence"]
    assert trust_of() == ("reported", True)
    row = Footprint.objects.get(device__name="alices-laptop")
    assert row.p50_ms == pytest.approx(1.5 * 1.05, rel=0.02), "the slowest is shown, nothing is averaged"


def test_a_budget_counts_reported_figures_as_likely_and_confirmed_ones_as_proven(as_alice, as_bob, anonymous, family):
    def answer(latency="2ms"):
        body = anonymous.get(f"/api/models/alice/m/fit?device=alices-laptop&latency={latency}").json()
        return body["variant"], body["answer"]

    post(as_alice, sending(1))
    assert answer() == ("int8", "likely")
    # onnx, four times as slow where both were measured, is likely here too, and loses less.
    assert answer("5ms") == ("onnx", "likely")
    post(as_bob, sending(2))
    assert answer() == answer("5ms") == ("int8", "proven")


def test_what_a_worker_measured_stays_and_who_disagrees_raises_a_flag(as_alice, family, anonymous):
    body = sending(1, scale=2.0, device="test-2c")
    body["device"]["cores"] = 2
    body["identity"]["versions"]["onnxruntime"] = "1.31.1"  # the worker's own runtime: the same place
    post(as_alice, body)
    row = Footprint.objects.get(variant__name="int8", device__name="test-2c")
    assert (row.trust, row.disputed, row.p90_ms) == ("verified", True, 1.0)
    shown = {v["name"]: v for v in anonymous.get("/api/models/alice/m/variants").json()["variants"]}
    assert shown["int8"]["footprints"][0]["disputed"] and shown["int8"]["footprints"][0]["senders"] == 1
    assert Device.objects.get(name="test-2c").origin == "worker"


def test_records_of_another_machine_under_a_taken_name_are_refused_whole(as_alice, as_bob, family):
    assert post(as_alice, sending(1)).status_code == 201
    body = sending(2)
    body["device"] |= {"cores": 64, "processor": "Another"}
    answer = post(as_bob, body)
    assert answer.status_code == 409 and "alices-laptop-bob" in answer.json()["error"], answer.content
    assert Measurement.objects.count() == 1 and Device.objects.get(name="alices-laptop").profile["cores"] == 4
    body["device"]["name"] = "alices-laptop-bob"
    assert post(as_bob, body).status_code == 201
    body = sending(3)
    body["device"]["measured"] = {"threads": {"1": {"fp32_gflops": 9e9}}}
    assert "stays what it was" in post(as_bob, body).json()["sentence"]
    assert "measured" not in Device.objects.get(name="alices-laptop").profile
    assert "stays" not in post(as_alice, sending(4)).json()["sentence"]


def test_profiles_from_before_are_given_to_who_sent_records_first(as_alice, as_bob, alice, family):
    for client in (as_alice, as_bob):
        assert post(client, sending(1 if client is as_alice else 2)).status_code == 201
    Device.objects.create(name="rock-5b", origin="sent", profile={"cores": 1})
    Device.objects.update(sender=None)
    import_module("compression_service.devices.migrations.0004_sender").give_to_first_senders(apps, None)
    assert Device.objects.get(name="alices-laptop").sender == alice
    assert Device.objects.get(name="rock-5b").profile == {} and Device.objects.get(name="test-2c").sender is None


def test_raw_samples_are_kept_and_shown(as_alice, anonymous, family):
    body = sending(1)
    post(as_alice, body)
    (row,) = anonymous.get(URL + "?variant=int8").json()
    assert row["samples_ms"] == body["records"][0]["samples_ms"] and row["sender"] == "alice"
    assert anonymous.get(URL + "?variant=onnx").json() == []


def test_the_variant_s_page_shows_marks_and_flags(as_alice, as_bob, visitor, family):
    post(as_alice, sending(1))
    post(as_bob, sending(2, scale=3.0))
    page = visitor.get("/alice/m/variants/int8").content.decode()
    assert "alices-laptop" in page and "reported" in page and "disputed" in page and ">verified<" in page
    Footprint.objects.update(noisy=True)
    assert ">verified<" not in visitor.get("/alice/m/variants/int8").content.decode()


def test_what_this_hub_s_own_client_sends_is_understood():
    assert records.HARNESSES[-1] == session.HARNESS_VERSION


def nested(depth):
    found = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def changed(path, value):
    def change(body):
        *way, last = path
        for step in way:
            body = body[step]
        if value is KeyError:
            del body[last]
        else:
            body[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(["records"], []), "1 to 64"),
        (changed(["records"], [{}] * 65), "1 to 64"),
        (changed(["identity"], "x"), "identity"),
        (changed(["identity", "harness"], "99"), "harness"),  # a client from the future
        (changed(["identity", "versions"], {}), "onnxruntime"),
        (changed(["identity", "measured_at"], "soon"), "measured_at"),
        (changed(["identity", "measured_at"], "2199-01-01T00:00:00Z"), "future"),
        (changed(["identity", "measured_at"], "2001-01-01T00:00:00Z"), "older"),
        (changed(["identity", "variants"], {}), "sha256"),
        (changed(["identity", "variants", "int8", "files"], {"int8.txt": "0" * 64}), "not the file"),
        (changed(["identity", "variants", "int8", "files"], {"other.txt": "0" * 64}), "not the file"),
        (changed(["identity", "variants", "int8", "files"], {"int8.txt": "short"}), "sha256"),
        (changed(["device", "name"], "A B"), "device's name"),
        (changed(["device", "processor"], "a\0b"), "NUL"),
        (changed(["device", "measured"], float("nan")), "finite"),
        (changed(["device", "cores"], True), "cores"),
        (changed(["device", "measured"], nested(100)), "nested deeper"),
        (changed(["records", 0, "session_options"], nested(100)), "nested deeper"),
        (changed(["device", "clock_mhz"], 10**400), "no machine counts to"),
        (changed(["records", 0, "throughput_per_s"], 10**400), "no machine counts to"),
        (changed(["records", 0, "samples_ms"], [10**400] * 200), "no machine counts to"),
        (changed(["records", 0, "latency_ms", "p95"], -(10**400)), "no machine counts to"),
        (changed(["device", "memory_bytes"], 70 * MB), "not possible"),
        (changed(["records", 0, "variant"], "no-such"), "sha256"),
        (changed(["records", 0, "error"], "it broke"), "failed"),
        (changed(["records", 0, "threads"], 64), "threads"),
        (changed(["records", 0, "samples_ms"], KeyError), "samples"),
        (changed(["records", 0, "samples_ms"], [1.0] * 63), "64"),
        (changed(["records", 0, "samples_ms"], [1.0] * 200), "alike"),
        (changed(["records", 0, "samples_ms"], [1e-9 * n for n in range(1, 200)]), "no machine"),
        (changed(["records", 0, "samples_ms"], ["1"] * 200), "numbers"),
        (changed(["records", 0, "latency_ms", "p90"], 0.1), "not that of its samples"),
        (changed(["records", 0, "latency_ms"], None), "p50"),
        (changed(["records", 0, "peak_memory_bytes"], 100), "not possible"),
        (changed(["records", 0, "baseline_memory_bytes"], 200 * MB), "more memory"),
        (changed(["records", 0, "cpu_ms"], 0), "processor time"),
        (changed(["records", 0, "latency_ms", "p90_low"], 1e6), "outside of its range"),
        (changed(["records", 0, "latency_ms", "p90_high"], 1e-6), "outside of its range"),
        (changed(["records", 0, "cpu_ms"], 1000.0), "processor time"),
        (changed(["records", 0, "cpu_ms"], "1"), "processor time"),
        (changed(["records", 0, "energy"], {"mj": -1.0, "method": "rapl"}), "energy"),
        (changed(["records", 0, "energy"], {"mj": 1e9, "method": "rapl"}), "energy"),
        (changed(["records", 0, "energy"], {"mj": 1.0, "method": "estimate"}), "energy"),
        (changed(["records", 0, "energy"], [1.0]), "energy"),
        (changed(["device", "processor"], "x" * 201), "processor is no text"),
        (changed(["device", "processor"], {"a": 1}), "processor is no text"),
        (changed(["device", "clock_mhz"], "fast"), "clock_mhz is no number"),
        (changed(["device", "instruction_sets"], 5), "instruction_sets is no list"),
        (changed(["device", "instruction_sets"], ["avx2"] * 65), "instruction_sets is no list"),
        (changed(["device", "limits"], ["x"]), "limits does not hold texts"),
        (changed(["device", "measured"], [1]), "measured does not hold speeds"),
        (changed(["device", "measured"], {"threads": {"1": {"fp32_gflops": "9"}}}), "measured does not hold speeds"),
        (changed(["device", "measured"], {"threads": {"1": {"stretch": [[1, 1]] * 9000}}}), "longer than"),
        (changed(["records", 0, "load_ms"], 5), "load_ms does not hold figures"),
        (changed(["records", 0, "load_ms"], {"warm": -1.0}), "load_ms holds what is no time"),
        (changed(["records", 0, "load_ms"], {"warm": "soon"}), "load_ms does not hold figures"),
        (changed(["records", 0, "latency_ms", "count"], 10**9), "how many runs"),
        (changed(["records", 0, "latency_ms", "count"], -5), "no time"),
        (changed(["records", 0, "latency_ms", "count"], 199), "how many runs"),
        (changed(["records", 0, "latency_ms", "count"], 1e300), "how many runs"),
        (changed(["records", 0, "latency_ms", "min"], 99), "not in order"),
        (changed(["records", 0, "latency_ms", "min"], 1.09), "not in order"),
        (changed(["records", 0, "latency_ms", "min"], 0), "not in order"),
        (changed(["records", 0, "latency_ms", "p95"], 0.0001), "not in order"),
        (changed(["records", 0, "latency_ms", "p99"], 5.0), "too few"),
        (changed(["records", 0, "latency_ms", "mean"], -1), "no time"),
        (changed(["records", 0, "latency_ms", "mean"], 0.5), "fastest run"),
        (changed(["records", 0, "latency_ms", "stdev"], -1), "no time"),
        (changed(["records", 0, "load_ms"], {"warm": 1e308}), "load_ms holds what is no time"),
        (changed(["records", 0, "ratio_to_source"], {"p50": -1}), "what is no ratio"),
        (changed(["records", 0, "throughput_per_s"], 1e-300), "lower than"),
        (changed(["records", 0, "energy"], {"mj": 1e-12, "method": "meter"}), "energy"),
        (changed(["records", 0, "ran_within"], 5), "ran_within does not hold figures"),
        (changed(["records", 0, "ran_within"], {"bytes": 1}), "ran_within is no limit"),
        (changed(["records", 0, "ran_within"], {}), "ran_within is no limit"),
        (changed(["records", 0, "throughput_per_s"], 1e9), "throughput_per_s is higher"),
        (changed(["records", 0, "throughput_per_s"], "many"), "throughput_per_s is no number"),
        (changed(["records", 0, "added_memory_bytes"], 10**12), "added_memory_bytes is more"),
        (changed(["records", 0, "ratio_to_source"], [1]), "ratio_to_source does not hold"),
        (changed(["records", 0, "noise"], "x" * 2001), "noise is no text"),
        (changed(["records", 0, "session_options"], {"x": "y" * 40_000}), "session_options is too long"),
        (changed(["records", 0, "input_shapes"], {"model": {"x": {"shape": [10**9], "dtype": "float32"}}}), "input_shapes"),
        (changed(["records", 0, "input_shapes"], {"model": {"x": {"shape": [-1], "dtype": "float32"}}}), "input_shapes"),
        (changed(["records", 0, "input_shapes"], {"model": [1]}), "input_shapes"),
    ],
)  # fmt: skip
def test_forged_truncated_and_impossible_records_are_refused_whole(as_alice, family, change, words):
    body = sending(1, names=("int8", "onnx"))
    change(body)
    answer = post(as_alice, body)
    assert answer.status_code == 400 and words in answer.json()["error"], answer.content
    assert not Measurement.objects.exists() and not Device.objects.filter(name="alices-laptop").exists()


def test_of_a_record_only_what_the_harness_says_is_kept(as_alice, anonymous, family):
    body = sending(2)
    body["records"][0] |= {"junk": "x" * 10**6, "variants": [1], "ran_within": {"bytes": 90 * MB, "by": "rlimit"}}
    body["records"][0] |= {"load_ms": {"cold": None, "warm": 3.0}, "noisy": False, "throughput_per_s": 900.0}
    assert post(as_alice, body).status_code == 201
    kept = Measurement.objects.get().record
    assert "junk" not in kept and "variants" not in kept and kept["ran_within"]["bytes"] == 90 * MB
    for path in ("/api/models/alice/m/fit?device=alices-laptop&load=5ms", URL, "/api/devices", "/alice/m"):
        assert anonymous.get(path).status_code == 200


@pytest.mark.parametrize("text", ["", "[]", "{", '{"device": {}}', "nonsense"])
def test_what_is_no_record_at_all_is_refused(as_alice, family, text):
    assert as_alice.post(URL, text, content_type="application/json").status_code == 400


def test_a_replay_counts_for_nobody(as_alice, as_bob, family):
    body = sending(1)
    assert post(as_alice, body).status_code == 201
    for client in (as_alice, as_bob):
        answer = post(client, copy.deepcopy(body))
        assert answer.status_code == 409 and "before" in answer.json()["error"]
    assert Measurement.objects.count() == 1


DISGUISES = {
    "shuffled": lambda samples: random.Random(5).sample(samples, len(samples)),
    "one less": lambda samples: samples[1:],
    "scaled": lambda samples: [one * 1.07 for one in samples],
    "shifted": lambda samples: [one + 0.01 for one in samples],
    "with noise": lambda samples: [one + random.Random(6).random() * 1e-4 for one in samples],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_another_account_s_run_in_disguise_confirms_nothing(as_alice, as_bob, family, disguise):
    body = sending(1)
    assert post(as_alice, body).status_code == 201
    record = body["records"][0]
    samples = DISGUISES[disguise](record["samples_ms"])
    found = statistics.quantiles(samples, n=100, method="inclusive")
    record |= {"samples_ms": samples, "latency_ms": {"p50": found[49], "p90": found[89], "count": len(samples)}}
    answer = post(as_bob, body)
    assert answer.status_code == 409, answer.content
    assert trust_of() == ("reported", False) and Measurement.objects.count() == 1


@pytest.mark.parametrize("count", [64, 200, 2000])
@pytest.mark.parametrize("tick_ms", [0.0, 1e-3])
def test_two_honest_runs_of_one_machine_are_not_taken_for_copies(count, tick_ms):
    def run(seed):
        rng = random.Random(seed)
        found = [1 + rng.expovariate(50) for _ in range(count)]
        return [round(one / tick_ms) * tick_ms for one in found] if tick_ms else found

    assert not any(records.resembles(run(seed), run(seed + 1000)) for seed in range(100))


def test_a_flood_is_refused(as_alice, family, monkeypatch):
    monkeypatch.setattr(measurements, "SENDINGS_A_DAY", Limit("measurements", 2, 3600))
    assert [post(as_alice, sending(n)).status_code for n in range(3)] == [201, 201, 429]


def test_who_may_send(anonymous, as_alice, as_bob, family, model):
    assert post(anonymous, sending(1)).status_code == 401
    model.private = True
    model.save()
    assert post(as_bob, sending(1)).status_code == 404
    assert post(as_alice, sending(1)).status_code == 201


def test_a_worker_s_record_takes_the_place_of_a_reported_one(as_alice, family):
    from compression_service.variants.services import record_footprint

    post(as_alice, sending(1))
    row = Footprint.objects.get(device__name="alices-laptop")
    record_footprint(row.variant, row.device, row.record, row.runtime, datetime.now(UTC) + timedelta(0))
    assert trust_of()[0] == "verified"


def test_an_account_which_is_gone_takes_its_records_along(family):
    carol = make_user("carol")
    Measurement.objects.create(
        sender=carol, variant=Variant.objects.get(name="int8"), device=Device.objects.get(), threads=1, runtime="r",
        digest="d", p50_ms=1, p90_ms=1, peak_memory_bytes=1, measured_at=timezone.now(),
    )  # fmt: skip
    carol.delete()
    assert not Measurement.objects.exists()
