"""Energy of an inference: measured where a meter is, estimated by the administrator's watts, never mixed."""

import pytest

from compression_service.devices.models import Device
from compression_service.variants.models import Catalogue, Footprint
from tests.factories import make_family

MB = 1_000_000
URL = "/api/models/alice/m/"


@pytest.fixture
def family(model):
    made = make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)})
    for row in Footprint.objects.all():
        row.record |= {"cpu_ms": row.p50_ms}
        row.save()
    return made


def footprints(client):
    body = client.get(URL + "variants").json()
    return {one["name"]: one["footprints"][0] for one in body["variants"]}


def fit(client, query):
    return client.get(URL + f"fit?{query}").json()


def test_without_meter_and_watts_nothing_is_filled_in(anonymous, family):
    assert {(row["energy_mj"], row["energy_method"]) for row in footprints(anonymous).values()} == {(None, None)}
    body = fit(anonymous, "energy=1J")
    assert body["answer"] == "none" and body["dropped"][0]["value"] is None


def test_the_administrators_watts_make_estimates_which_are_never_proven(anonymous, family, settings):
    settings.CORE_WATTS = 5.0
    assert footprints(anonymous)["int8"]["energy_method"] == "estimate"
    assert footprints(anonymous)["int8"]["energy_mj"] == pytest.approx(0.9 * 5.0)
    body = fit(anonymous, "energy=10mJ")
    assert (body["variant"], body["answer"]) == ("int8", "likely")
    assert fit(anonymous, "goal=energy")["variant"] == "int8"
    assert fit(anonymous, "energy=1mJ")["nearest_miss"]["variant"] == "int8"


def test_measured_ones_come_before_estimates(anonymous, family, settings):
    settings.CORE_WATTS = 5.0
    row = Footprint.objects.get(variant__name="onnx")
    row.record |= {"energy": {"mj": 9.0, "method": "rapl", "watts_idle": 3.0}}
    row.save()
    Catalogue.objects.update(version=99)
    assert footprints(anonymous)["onnx"]["energy_method"] == "rapl"
    body = fit(anonymous, "goal=energy&energy=10mJ")
    assert (body["variant"], body["answer"]) == ("onnx", "proven"), "though the estimate of int8 is lower"


def test_a_meter_which_counted_nothing_beyond_rest_measured_nothing(anonymous, family):
    for row in Footprint.objects.all():
        row.record |= {"energy": {"mj": 0.0, "method": "rapl", "watts_idle": 3.0}}
        row.save()
    assert footprints(anonymous)["int8"]["energy_mj"] is None


def test_watts_of_workers_say_nothing_of_somebodys_machine_and_its_own_do(anonymous, family, settings):
    settings.CORE_WATTS = 5.0
    Device.objects.update(origin="sent")
    assert footprints(anonymous)["int8"]["energy_mj"] is None
    settings.DEVICE_WATTS = {"test-2c": 2.0}
    assert footprints(anonymous)["int8"]["energy_mj"] == pytest.approx(1.8)


def test_across_models_too(anonymous, family, settings):
    from compression_service.selection.offers import refresh_offers

    settings.CORE_WATTS = 5.0
    refresh_offers(family.repository)
    found = anonymous.get("/api/fit?energy=10mJ").json()["results"]
    assert [(one["variant"], one["answer"]) for one in found] == [("int8", "likely")]
    assert found[0]["figures"]["energy_mj"] == pytest.approx(4.5) and found[0]["figures"]["energy_is_estimated"]
