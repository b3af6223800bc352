"""Devices: who may take a profile, which one answers, and targets which nobody measured."""

import pytest

from compression_service.devices import services
from compression_service.devices.models import Device
from compression_service.devices.shipped import ALIASES, SHIPPED
from tests.factories import make_family

MEASURED = {"threads": {"1": {"fp32_gflops": 10.0}}}


def test_what_a_worker_took_is_overwritten_by_no_sender(db):
    services.record_device("box", {"cores": 2, "measured": MEASURED})
    services.record_device("box", {"cores": 64}, Device.Origin.SENT)
    assert Device.objects.get().profile["cores"] == 2
    services.record_device("box", {"cores": 4})
    assert Device.objects.get().profile == {"cores": 4, "measured": MEASURED}
    assert not services.has_measured_speeds("box"), "an older bench did not say what limits it: it is measured anew"
    services.record_device("box", {"measured": {"threads": {"1": {"fp32_gflops": 10.0, "share": 1.0}}}})
    assert services.has_measured_speeds("box") and not services.has_measured_speeds("other")


def test_a_sender_s_device_answers_no_budget_which_names_none(db):
    services.record_device("mine", {})
    services.record_device("theirs", {}, Device.Origin.SENT)
    assert services.default_device() == "mine"


def test_shipped_targets_say_where_each_figure_stands_and_call_none_measured():
    for name, one in SHIPPED.items():
        sheet = one["datasheet"]
        assert set(sheet["sources"]) == set(sheet) - {"sources"}, name
        assert all(len(words) > 10 for words in sheet["sources"].values()) and "measured" not in one
    assert set(ALIASES.values()) <= SHIPPED.keys() and not ALIASES.keys() & SHIPPED.keys()


def test_the_api_lists_devices_with_their_origin(anonymous, model):
    make_family(model, {"onnx": (1, 1.0, 1, 1.0)})
    rows = {row["name"]: row for row in anonymous.get("/api/devices").json()}
    assert rows["test-2c"]["origin"] == "worker" and rows["test-2c"]["records"] == 1
    assert rows["raspberry-pi-4"]["datasheet"]["clock_ghz"] == 1.5 and rows["raspberry-pi-4"]["measured"] is None


@pytest.mark.parametrize("name", ["rpi5", "raspberry-pi-5"])
def test_a_short_name_is_the_same_budget(anonymous, model, name):
    make_family(model, {"onnx": (1, 1.0, 1, 1.0)})
    answer = anonymous.get(f"/api/models/alice/m/fit?device={name}&size=1KB").json()
    assert answer["budget"] == "device=raspberry-pi-5,size=1KB"
