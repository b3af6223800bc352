"""The ledger of savings over HTTP. Null is what nobody measured or stated; energy is from the wall."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers as s
from rest_framework.request import Request
from rest_framework.response import Response

from compression_service.ledger.arithmetic import BY_ENERGY, BY_TIME, NEVER, UNKNOWN, Stated
from compression_service.ledger.services import MOST_MODELS, Entry, Row, Totals, ledger_of, ledger_of_hub
from models_registry.hfapi.base import HubView, number


class ApartShape(s.Serializer):
    """Two figures which are never added up."""

    measured = s.FloatField(allow_null=True, help_text="by the machine's meter")
    estimated = s.FloatField(allow_null=True, help_text="processor time × the stated watts")


class StatedShape(s.Serializer):
    """What the administrator of this hub states; null: nothing."""

    core_watts = s.FloatField(allow_null=True)
    efficiency = s.FloatField()
    grams_a_kwh = s.FloatField(allow_null=True)
    location = s.CharField(allow_null=True)
    core_hour_price = s.FloatField(allow_null=True)
    currency = s.CharField()


class SpentShape(s.Serializer):
    jobs = s.IntegerField()
    jobs_unrecorded = s.IntegerField(help_text="which ended before processor time was kept")
    processor_seconds = s.FloatField()
    energy_joules = ApartShape()
    emissions_grams = ApartShape()
    cost = s.FloatField(allow_null=True, help_text="in stated.currency")


class MovedShape(s.Serializer):
    pulls = s.IntegerField(help_text="of variants")
    pulled_bytes = s.IntegerField()
    spared_by_variants_bytes = s.IntegerField(help_text="the source's bytes less those which were pulled")
    spared_by_dedupe_bytes = s.IntegerField(help_text="of pushes by Xet: the files' bytes less those which were sent")


class EntryShape(s.Serializer):
    variant = s.CharField()
    making_processor_seconds = s.FloatField(allow_null=True)
    making_energy_joules = ApartShape()
    saved_processor_ms = s.FloatField(allow_null=True, help_text="an inference, one thread; below 0 it takes more")
    saved_joules = ApartShape(help_text="an inference")
    pays_back_after = s.IntegerField(allow_null=True, help_text="inferences")
    pays_back_by = s.ChoiceField([BY_ENERGY, BY_TIME, NEVER, UNKNOWN])
    pulls = s.IntegerField()
    spared_bytes = s.IntegerField()


class ModelLedgerShape(s.Serializer):
    repository = s.CharField()
    device = s.CharField(allow_null=True)
    stated = StatedShape()
    spent = SpentShape()
    moved = MovedShape()
    variants = EntryShape(many=True)
    co2_eq_emissions = s.DictField(allow_null=True, help_text="for the card's metadata, as it is")


class HubRowShape(s.Serializer):
    repository = s.CharField()
    processor_seconds = s.FloatField()
    energy_joules = ApartShape()
    pulls = s.IntegerField()
    spared_by_variants_bytes = s.IntegerField()
    best = EntryShape(allow_null=True, help_text="saves most an inference, and loses at most a point")


class HubLedgerShape(s.Serializer):
    device = s.CharField(allow_null=True)
    stated = StatedShape()
    spent = SpentShape()
    moved = MovedShape()
    models = HubRowShape(many=True)


class ModelLedgerView(HubView):
    answers = ModelLedgerShape

    def get(self, request: Request, namespace: str, name: str) -> Response:
        """What making a model's variants cost, what they save, and the block for its card."""
        repository = self.repository("models", namespace, name)
        ledger = ledger_of(repository)
        return Response(
            {
                "repository": repository.full_name,
                "device": ledger.device or None,
                **_common(ledger.totals, ledger.stated),
                "variants": [entry_json(one) for one in ledger.entries],
                "co2_eq_emissions": ledger.card_block,
            }
        )


class HubLedgerView(HubView):
    answers = HubLedgerShape

    @extend_schema(parameters=[OpenApiParameter("limit", OpenApiTypes.INT)])
    def get(self, request: Request) -> Response:
        """The whole hub's: of public repositories, for its administrators of all. At most a minute old."""
        ledger = ledger_of_hub(self.actor, number(request, "limit", 20, MOST_MODELS) or 1)
        body = {"device": ledger.device or None, **_common(ledger.totals, ledger.stated)}
        return Response(body | {"models": [_row_json(row) for row in ledger.rows]})


def entry_json(one: Entry) -> dict[str, Any]:
    return {
        "variant": one.variant.name,
        "making_processor_seconds": one.spent.processor_seconds if one.spent else None,
        "making_energy_joules": one.energy.to_json(),
        "saved_processor_ms": one.saving.cpu_ms,
        "saved_joules": one.saving.joules.to_json(),
        "pays_back_after": one.pays_back_after,
        "pays_back_by": one.pays_back_by,
        "pulls": one.pulls,
        "spared_bytes": one.spared_bytes,
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "repository": row.repository.full_name,
        "processor_seconds": row.spent.processor_seconds,
        "energy_joules": row.energy.to_json(),
        "pulls": row.pulls,
        "spared_by_variants_bytes": row.spared_bytes,
        "best": entry_json(row.best) if row.best else None,
    }


def _common(totals: Totals, stated: Stated) -> dict[str, Any]:
    return {
        "stated": vars(stated) | {"location": stated.location or None},
        "spent": {
            "jobs": totals.spent.jobs,
            "jobs_unrecorded": totals.spent.unrecorded_jobs,
            "processor_seconds": totals.spent.processor_seconds,
            "energy_joules": totals.energy.to_json(),
            "emissions_grams": totals.emissions_g.to_json(),
            "cost": totals.cost,
        },
        "moved": {
            "pulls": totals.moved.pulls,
            "pulled_bytes": totals.moved.pulled,
            "spared_by_variants_bytes": totals.moved.spared_by_variants,
            "spared_by_dedupe_bytes": totals.moved.spared_by_dedupe,
        },
    }
