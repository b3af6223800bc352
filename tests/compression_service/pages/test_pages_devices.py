"""The pages of devices: sources of every figure, records which the reader may see, profiles which hold anything."""

import pytest

from compression_service.devices.models import Device
from compression_service.devices.services import record_device
from compression_service.pages.devices import speeds_of
from compression_service.variants.models import Footprint
from tests.factories import make_family, make_repository

MB = 1_000_000
SPEEDS = {"fp32_gflops": 40.0, "int8_gops": 120.0, "copy_gb_s": 9.5, "dispatch_us": 4.2}


@pytest.fixture
def family(model):
    made = make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)})
    profile = {
        "processor": "A <processor>", "cores": 2, "memory_bytes": 8 * 10**9, "instruction_sets": ["avx2", "fma"],
        "limits": {"cpu.max": "max 100000"}, "clock_mhz": 2400.0,
        "measured": {"threads": {"1": SPEEDS, "2": SPEEDS | {"fp32_gflops": 78.0}}, "cold_read_mb_s": 512.0, "measured_at": "2026-11-22T10:00:00Z"},
    }  # fmt: skip
    record_device("test-2c", profile)
    return made


def page(client, url):
    answer = client.get(url)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def test_a_workers_device_shows_its_profile_speeds_and_records(visitor, family):
    shown = page(visitor, "/devices/test-2c")
    for words in (
        "A &lt;processor&gt;", "told by the machine&#x27;s kernel", "avx2, fma", "8.00 GB", "2,400 MHz", "cpu.max max 100000",
        "40.0 GFLOP/s", "78.0 GFLOP/s", "2 threads", "512 MB/s", "2026-11-22T10:00:00Z", "measured by a worker",
        "It answers budgets which name no device", 'href="/alice/m/variants/int8"', "verified", "onnxruntime 1.31.1",
    ):  # fmt: skip
        assert words in shown, words


def test_energy_stands_beside_the_record_with_its_method(visitor, family, settings):
    row = Footprint.objects.get(variant__name="int8")
    row.record |= {"cpu_ms": 2.0}
    row.save()
    assert "estimated" not in page(visitor, "/devices/test-2c")
    settings.CORE_WATTS = 5.0
    for url in ("/devices/test-2c", "/alice/m/variants/int8"):
        shown = page(visitor, url)
        assert "10.0 mJ" in shown and ">estimated<" in shown, url
    row.record |= {"energy": {"mj": 7.0, "method": "rapl"}}
    row.save()
    assert "7.00 mJ" in page(visitor, "/devices/test-2c") and ">rapl<" in page(visitor, "/alice/m/variants/int8")


def test_a_datasheet_names_its_documents_and_is_never_called_measured(visitor, db):
    shown = page(visitor, "/devices/rpi5")
    assert "Raspberry Pi 5 product brief" in shown and "38.4 GFLOP/s" in shown and "<code>rpi5</code>" in shown
    assert "none of it was measured by this hub" in shown and "Nobody measured its speeds" in shown
    assert "verified" not in shown and "Nothing was measured there yet" in shown


def test_records_of_private_models_are_for_those_who_may_see_them(visitor, alice, alice_browser, bob_browser):
    hidden = make_repository(alice, "hidden", private=True)
    make_family(hidden, {"onnx": (1, 1.0, MB, 1.0)})
    assert "alice/hidden" in page(alice_browser, "/devices/test-2c")
    for client in (visitor, bob_browser):
        shown = page(client, "/devices/test-2c")
        assert "alice/hidden" not in shown and "which you may not see" in shown


def test_the_list_says_where_each_comes_from_and_leads_on(visitor, family):
    record_device("alices-laptop", {"processor": "Another", "cores": 4}, Device.Origin.SENT)
    shown = page(visitor, "/devices")
    for words in ("test-2c", "2 records", "alices-laptop", "sent in", "raspberry-pi-5", "datasheet", "no records"):
        assert words in shown, words
    assert 'href="/devices/test-2c"' in page(visitor, "/alice/m")


@pytest.mark.parametrize("name", ["toaster", "x" * 500, "%00", "a%2Fb", "%F0%9F%98%80"])
def test_a_device_which_is_not_there(visitor, db, name):
    assert visitor.get(f"/devices/{name}").status_code == 404


@pytest.mark.parametrize(
    "profile",
    [
        {"measured": 5}, {"measured": {"threads": []}}, {"measured": {"threads": {"1": None, "x": {}, "2": {"fp32_gflops": "1"}}}},
        {"processor": {"a": ["b"]}, "cores": "four", "memory_bytes": "much", "clock_mhz": [], "limits": 7},
        {"processor": "x" * 100_000, "instruction_sets": [{}, None, "<script>"], "kernel": None, "title": ["t"]},
    ],
)  # fmt: skip
def test_a_profile_which_somebody_sent_may_hold_anything(visitor, db, profile):
    record_device("odd", profile, Device.Origin.SENT)
    shown = page(visitor, "/devices/odd")
    assert "<script>" not in shown.replace("<script src", "") and len(shown) < 50_000 and page(visitor, "/devices")


def test_speeds_are_in_the_order_of_threads():
    found = speeds_of({"measured": {"threads": {"16": SPEEDS, "2": SPEEDS, "1": SPEEDS}}})
    assert (
        found["threads"] == ["1 thread", "2 threads", "16 threads"]
        and found["cold_read"] == ""
        and len(found["rows"]) == 5
    )


def test_networks_of_rising_size_have_a_row_each_and_nonsense_has_none():
    one, two = (SPEEDS | {"ladder": [[16, 0.01, 0.01, 0.012], [64, slow, slow, slow]]} for slow in (0.5, 0.3))
    found = speeds_of({"measured": {"threads": {"1": one, "2": two, "4": SPEEDS | {"ladder": "x"}}}})
    assert [[text for _, text in texts] for _, texts in found["rows"][5:]] == [
        ["0.0100, 0.0120 ms", "0.0100, 0.0120 ms", "–"],
        ["0.500, 0.500 ms", "0.300, 0.300 ms", "–"],
    ]
    assert "8 layers of 64" in found["rows"][6][0]
