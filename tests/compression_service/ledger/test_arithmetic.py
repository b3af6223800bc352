"""The ledger's arithmetic: formulas, measured and estimated apart, and what is told when something is not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression_service.ledger.arithmetic import (
    BY_ENERGY,
    BY_TIME,
    NEVER,
    UNKNOWN,
    Apart,
    Inference,
    Saving,
    Spent,
    Stated,
    co2_block,
    cost_of,
    emissions_of,
    energy_of,
    pays_back,
    saving_of,
)

STATED = Stated(
    core_watts=10.0, efficiency=0.5, grams_a_kwh=360.0, location="Bern, CH", core_hour_price=0.04, currency="CHF"
)


def test_energy_emissions_and_cost():
    spent = Spent(processor_seconds=7200.0, unmetered_seconds=3600.0, metered_joules=1000.0, jobs=2)
    energy = energy_of(spent, STATED)
    assert energy == Apart(measured=2000.0, estimated=72_000.0)  # ÷ efficiency, and time × power ÷ efficiency
    assert emissions_of(energy, STATED) == Apart(measured=pytest.approx(0.2), estimated=pytest.approx(7.2))
    assert cost_of(spent, STATED) == pytest.approx(0.08)


def test_what_the_administrator_does_not_state_is_not_derived():
    spent = Spent(100.0, 60.0, 5.0, 1)
    assert energy_of(spent, Stated()) == Apart(measured=5.0)
    assert emissions_of(Apart(5.0, 5.0), Stated()) == Apart()
    assert cost_of(spent, Stated()) is None
    assert co2_block(Apart(), Stated(), []) is None
    assert energy_of(Spent(), STATED) == Apart(), "nothing was spent: no estimate of nothing"


def test_energies_are_compared_with_their_own_kind_only():
    metered, estimated = Inference(4.0, 20.0, "rapl"), Inference(1.0, 5.0, "estimate")
    assert saving_of(metered, estimated) == Saving(3.0)
    assert saving_of(metered, Inference(1.0, 8.0, "rapl"), 0.5) == Saving(3.0, Apart(measured=pytest.approx(0.024)))
    assert saving_of(Inference(4.0, 20.0, "estimate"), estimated).joules == Apart(estimated=pytest.approx(0.015))
    assert saving_of(Inference(None), estimated) == Saving()


def test_paying_back():
    metered, timed = Spent(30.0, 0.0, 600.0, 1), Spent(30.0, 30.0, None, 1)
    saved = Saving(3.0, Apart(measured=0.02))
    assert pays_back(metered, saved) == (30_000, BY_ENERGY)
    assert pays_back(metered, saved, 0.5) == (60_000, BY_ENERGY)
    assert pays_back(timed, saved) == (10_000, BY_TIME), "joules of a meter are not held against an estimate"
    assert pays_back(metered, Saving(3.0, Apart(estimated=0.02))) == (10_000, BY_TIME)
    assert pays_back(timed, Saving(-0.1)) == (None, NEVER)
    assert pays_back(Spent(), saved) == pays_back(timed, Saving()) == (None, UNKNOWN)


@given(st.floats(0.1, 500), st.floats(0.05, 1), st.floats(1, 1e5), st.floats(0.001, 1e3))
def test_by_time_is_what_an_estimate_of_energy_would_come_to(watts, efficiency, seconds, saved_ms):
    stated = Stated(core_watts=watts, efficiency=efficiency)
    making = energy_of(Spent(seconds, seconds), stated).estimated
    source, variant = (Inference(ms, ms * watts, "estimate") for ms in (saved_ms + 1, 1.0))
    saving = saving_of(source, variant, efficiency)
    after, by = pays_back(Spent(seconds, seconds), saving, efficiency)
    assert by == BY_TIME and after == pytest.approx(making / saving.joules.estimated, rel=1e-6, abs=1.001)


def test_the_block_for_a_card():
    block = co2_block(Apart(0.25, 7.251234), STATED, ["epyc-2c"])
    assert block == {
        "emissions": 7.501,
        "source": "FitHub's ledger: making the variants, 0.25 g measured and 7.25 g estimated; 360 g a kWh",
        "training_type": "compression of a trained model",
        "geographical_location": "Bern, CH",
        "hardware_used": "epyc-2c",
    }
