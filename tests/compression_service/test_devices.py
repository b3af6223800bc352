"""Devices: who may take a profile, which one answers, and targets which nobody measured."""

import pytest

from compression_service.devices import services
from compression_service.devices.models import Device
from compression_service.devices.shipped import ALIASES, SHIPPED
from models_registry.accounts.actors import Actor
from models_registry.errors import Conflict
from tests.factories import make_family, make_user

MEASURED = {"threads": {"1": {"fp32_gflops": 10.0}}}


@pytest.fixture
def admin(db):
    return make_user("root", admin=True)


def test_what_a_worker_took_is_overwritten_by_no_sender(db):
    services.record_device("box", {"cores": 2, "measured": MEASURED})
    services.record_device("box", {"cores": 64}, Device.Origin.SENT)
    assert Device.objects.get().profile["cores"] == 2
    services.record_device("box", {"cores": 2, "kernel": "6"})
    assert Device.objects.get().profile == {"cores": 2, "kernel": "6", "measured": MEASURED}
    assert not services.has_measured_speeds("box"), "an older bench ran no networks: it is measured anew"
    services.record_device("box", {"measured": {"threads": {"1": {"fp32_gflops": 10.0, "ladder": []}}}})
    assert services.has_measured_speeds("box") and not services.has_measured_speeds("other")


def test_measured_speeds_of_another_machine_or_by_other_hands_do_not_stay(db):
    services.record_device("box", {"cores": 2, "measured": MEASURED}, Device.Origin.SENT)
    services.record_device("box", {"cores": 2})
    assert Device.objects.get().profile == {"cores": 2}, "a worker's speeds are its own"
    services.record_device("box", {"cores": 2, "measured": MEASURED})
    services.record_device("box", {"cores": 4})
    assert Device.objects.get().profile == {"cores": 4}


PROFILE = {"processor": "A", "architecture": "x86_64", "cores": 4, "measured": MEASURED}


def test_a_profile_is_theirs_who_sent_it_first(alice, bob):
    mine = services.take_in_device(Actor(alice), "laptop-4c", PROFILE)
    assert mine.sender == alice
    same = services.take_in_device(Actor(bob), "laptop-4c", PROFILE | {"kernel": "forged", "measured": {"threads": {}}})
    assert same == mine and same.profile == PROFILE, "records of the same class are welcome, a second profile is not"
    services.take_in_device(Actor(alice), "laptop-4c", PROFILE | {"cores": 8})
    assert Device.objects.get().profile["cores"] == 8, "who sent it may correct it"


@pytest.mark.parametrize("change", [{"cores": 8}, {"processor": "B"}, {"architecture": "aarch64"}])
def test_another_machine_under_a_taken_name_is_told_which_name_to_take(alice, bob, change):
    services.take_in_device(Actor(alice), "laptop-4c", PROFILE)
    with pytest.raises(Conflict, match=r"another machine here \(A, x86_64, 4 cores\).*for example laptop-4c-bob "):
        services.take_in_device(Actor(bob), "laptop-4c", PROFILE | change)
    assert Device.objects.get().profile == PROFILE
    services.take_in_device(Actor(alice), "laptop-4c-bob", PROFILE)
    with pytest.raises(Conflict, match="laptop-4c-bob-2 "):
        services.take_in_device(Actor(bob), "laptop-4c", PROFILE | change)
    assert services.take_in_device(Actor(bob), "laptop-4c-bob-2", PROFILE | change).sender == bob
    with pytest.raises(Conflict, match="laptop-4c-bob-2 "):
        services.take_in_device(Actor(bob), "laptop-4c", PROFILE | change)


def test_the_name_to_take_is_one_which_may_be_sent(alice):
    odd = make_user("Carol_X.Y")
    services.take_in_device(Actor(alice), "a" * 80, PROFILE)
    with pytest.raises(Conflict) as refused:
        services.take_in_device(Actor(odd), "a" * 80, PROFILE | {"cores": 2})
    name = str(refused.value).split("for example ")[1].split(" ")[0]
    assert name == "a" * 70 + "-carol-x-y" and services.take_in_device(Actor(odd), name, PROFILE).sender == odd


def test_an_administrator_may_change_what_was_sent_and_nobody_what_a_worker_took(alice, admin):
    services.take_in_device(Actor(alice), "laptop-4c", PROFILE)
    services.take_in_device(Actor(admin), "laptop-4c", PROFILE | {"cores": 16})
    device = Device.objects.get()
    assert device.profile["cores"] == 16 and device.sender == alice
    services.record_device("worker-4c", PROFILE)
    for who in (alice, admin):
        assert services.take_in_device(Actor(who), "worker-4c", PROFILE | {"kernel": "x"}).profile == PROFILE
        with pytest.raises(Conflict, match="worker-4c is another machine"):
            services.take_in_device(Actor(who), "worker-4c", PROFILE | {"cores": 1})
    services.record_device("laptop-4c", PROFILE)
    device.refresh_from_db()
    assert (device.origin, device.sender) == ("worker", None), "a worker which comes there takes it over"


def test_a_shipped_target_keeps_its_datasheet_whoever_sends_records_of_it(alice, admin, anonymous):
    board = {"processor": "Raspberry Pi 5 Model B", "architecture": "aarch64", "cores": 4, "measured": MEASURED}
    for name in ("rpi5", "raspberry-pi-5"):
        with pytest.raises(Conflict, match="raspberry-pi-5 is another machine"):
            services.take_in_device(Actor(alice), name, board | {"architecture": "x86_64"})
    assert not Device.objects.exists()
    device = services.take_in_device(Actor(alice), "rpi5", board)
    assert (device.name, device.profile) == ("raspberry-pi-5", {})
    listed = {row["name"]: row for row in anonymous.get("/api/devices").json()}["raspberry-pi-5"]
    assert listed["origin"] == "datasheet" and listed["measured"] is None and listed["datasheet"]["clock_ghz"] == 2.4
    assert anonymous.get("/devices/rpi5").status_code == 200
    services.take_in_device(Actor(admin), "rpi5", board)
    assert services.known_device("rpi5").origin == "sent" and services.known_device("rpi5").is_measured
    services.take_in_device(Actor(alice), "rpi5", board | {"measured": {}})
    assert services.known_device("rpi5").is_measured


def test_a_profile_whose_sender_is_gone_goes_to_the_next_of_the_same_machine(alice, bob):
    services.take_in_device(Actor(alice), "laptop-4c", PROFILE)
    alice.delete()
    with pytest.raises(Conflict):
        services.take_in_device(Actor(bob), "laptop-4c", PROFILE | {"cores": 1})
    assert services.take_in_device(Actor(bob), "laptop-4c", PROFILE | {"kernel": "6"}).sender == bob
    assert Device.objects.get().profile["kernel"] == "6"


def test_the_list_says_whose_profile_one_may_send_anew(alice, as_alice, as_bob, anonymous):
    services.take_in_device(Actor(alice), "laptop-4c", PROFILE)
    said = [c.get("/api/devices").json()[0] for c in (as_alice, as_bob, anonymous)]
    assert [row["yours"] for row in said] == [True, False, False]


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
