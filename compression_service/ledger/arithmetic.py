"""The ledger's arithmetic. Pure: no Django.

cost = time × price × resources, energy = time × power ÷ efficiency, emissions = energy × grid intensity. What a meter
said and what is estimated never share a figure: see `Apart`.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

JOULES_A_KWH = 3.6e6
SECONDS_AN_HOUR = 3600.0
BY_ENERGY, BY_TIME, NEVER, UNKNOWN = "measured energy", "processor time", "never", "unknown"


@dataclass(frozen=True)
class Stated:
    """The administrator's figures. None: not stated, so nothing is derived from it."""

    core_watts: float | None = None  # of one busy core
    efficiency: float = 1.0  # share of the power from the wall which reaches the processor, above 0
    grams_a_kwh: float | None = None
    location: str = ""
    core_hour_price: float | None = None
    currency: str = ""


@dataclass(frozen=True)
class Apart:
    """A figure in two parts which are never added up: from a meter, and estimated. None: nothing of that kind."""

    measured: float | None = None
    estimated: float | None = None

    def times(self, factor: float) -> "Apart":
        return Apart(*(None if part is None else part * factor for part in (self.measured, self.estimated)))

    def to_json(self) -> dict[str, float | None]:
        return {"measured": self.measured, "estimated": self.estimated}


@dataclass(frozen=True)
class Spent:
    """What jobs used: processor seconds of all, and of those without a meter; joules of those with one."""

    processor_seconds: float = 0.0
    unmetered_seconds: float = 0.0
    metered_joules: float | None = None
    jobs: int = 0
    unrecorded_jobs: int = 0  # which ended before processor time was kept


@dataclass(frozen=True)
class Inference:
    """What one inference takes in one place: processor time in ms, energy in mJ with its method, None: not known."""

    cpu_ms: float | None
    energy_mj: float | None = None
    energy_method: str | None = None


@dataclass(frozen=True)
class Saving:
    """What a variant takes less than its source, an inference; below 0 it takes more."""

    cpu_ms: float | None = None
    joules: Apart = Apart()


def energy_of(spent: Spent, stated: Stated) -> Apart:
    """Joules from the wall."""
    metered = None if spent.metered_joules is None else spent.metered_joules / stated.efficiency
    estimated = None
    if stated.core_watts is not None and spent.unmetered_seconds > 0:
        estimated = spent.unmetered_seconds * stated.core_watts / stated.efficiency
    return Apart(metered, estimated)


def emissions_of(joules: Apart, stated: Stated) -> Apart:
    """Grams of CO2 equivalent."""
    return Apart() if stated.grams_a_kwh is None else joules.times(stated.grams_a_kwh / JOULES_A_KWH)


def cost_of(spent: Spent, stated: Stated) -> float | None:
    """In the administrator's currency: processor seconds are time × cores already."""
    if stated.core_hour_price is None:
        return None
    return spent.processor_seconds / SECONDS_AN_HOUR * stated.core_hour_price


def saving_of(source: Inference, variant: Inference, efficiency: float = 1.0) -> Saving:
    """Figures of the same place. Energies are compared with their own kind only; joules are from the wall."""
    cpu_ms = None if source.cpu_ms is None or variant.cpu_ms is None else source.cpu_ms - variant.cpu_ms
    if source.energy_mj is None or variant.energy_mj is None or source.energy_method != variant.energy_method:
        return Saving(cpu_ms)
    joules = (source.energy_mj - variant.energy_mj) / 1000 / efficiency
    return Saving(cpu_ms, Apart(estimated=joules) if source.energy_method == "estimate" else Apart(measured=joules))


def pays_back(making: Spent, saving: Saving, efficiency: float = 1.0) -> tuple[int | None, str]:
    """(inferences after which making it has paid for itself, by what that is told).

    By joules where a meter told both. Else by processor time, which is what an estimate comes to: watts cancel out.
    """
    is_metered = making.metered_joules is not None and making.unmetered_seconds == 0
    if is_metered and saving.joules.measured is not None and making.metered_joules is not None:
        spent, saved, by = making.metered_joules / efficiency, saving.joules.measured, BY_ENERGY
    elif making.processor_seconds > 0 and saving.cpu_ms is not None:
        spent, saved, by = making.processor_seconds, saving.cpu_ms / 1000, BY_TIME
    else:
        return None, UNKNOWN
    return (ceil(spent / saved), by) if saved > 0 else (None, NEVER)


def co2_block(grams: Apart, stated: Stated, hardware: list[str]) -> dict[str, Any] | None:
    """`co2_eq_emissions` as a model card of the hub takes it (grams); None where no grams can be told."""
    parts = {"measured": grams.measured, "estimated": grams.estimated}
    known = {word: value for word, value in parts.items() if value is not None}
    if not known:
        return None
    told = " and ".join(f"{value:.3g} g {word}" for word, value in known.items())
    block: dict[str, Any] = {
        "emissions": float(f"{sum(known.values()):.4g}"),
        "source": f"FitHub's ledger: making the variants, {told}; {stated.grams_a_kwh:g} g a kWh",
        "training_type": "compression of a trained model",
    }
    if stated.location:
        block["geographical_location"] = stated.location
    if hardware:
        block["hardware_used"] = ", ".join(hardware)
    return block
