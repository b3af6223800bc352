"""A new runtime makes a worker's records stale, queues them once, and the new record takes the old one's place."""

import pytest
from django.utils import timezone

from compression_service.devices.models import Device
from compression_service.jobs import freshness
from compression_service.jobs.models import Job
from compression_service.variants.models import Footprint, Variant
from compression_service.variants.services import record_footprint
from tests.factories import make_family

MB = 1_000_000
OLD, NEW = "onnxruntime 1.31.1", "onnxruntime 1.32.0"


@pytest.fixture
def family(model):
    return make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)})


def answer(client):
    return client.get("/api/models/alice/m/fit?memory=1GB").json()["answer"]


def test_records_of_another_runtime_are_stale_and_queued_once(family, anonymous):
    assert answer(anonymous) == "proven"
    assert freshness.queue_stale("test-2c", OLD) == 0 and not Footprint.objects.filter(stale=True).exists()
    assert freshness.queue_stale("test-2c", NEW) == 1
    assert Footprint.objects.filter(stale=True).count() == 2 and answer(anonymous) == "likely"
    freshness.queue_stale("test-2c", NEW)
    job = Job.objects.get(kind="measure")
    assert job.payload == {"source": family.pk} and NEW in job.key


def test_the_new_record_takes_the_old_one_s_place(family, anonymous):
    freshness.queue_stale("test-2c", NEW)
    for variant in Variant.objects.all():
        record = {"threads": 1, "latency_ms": {"p50": 1.0, "p90": 2.0}, "peak_memory_bytes": MB, "size_bytes": 1}
        record_footprint(variant, Device.objects.get(), record, NEW, timezone.now())
    assert set(Footprint.objects.values_list("runtime", "stale")) == {(NEW, False)}
    assert freshness.queue_stale("test-2c", NEW) == 0


def test_other_devices_and_what_people_sent_are_left_alone(family):
    assert freshness.queue_stale("another", NEW) == 0
    Footprint.objects.update(trust="reported")
    assert freshness.queue_stale("test-2c", NEW) == 0 and not Footprint.objects.filter(stale=True).exists()


def test_a_start_queues_so_many_at_most(family, monkeypatch):
    monkeypatch.setattr(freshness, "MOST_QUEUED", 0)
    assert freshness.queue_stale("test-2c", NEW) == 0 and Footprint.objects.filter(stale=True).count() == 2
    monkeypatch.setattr(freshness, "MOST_QUEUED", 1)
    assert freshness.queue_stale("test-2c", NEW) == 1
