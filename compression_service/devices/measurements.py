"""Acts on measurements from people's machines (measuring.md §2): taken in whole or not at all, never averaged."""

import logging
from typing import Any

from django.db import transaction
from django.utils import timezone

from compression_service.devices import records
from compression_service.devices.models import Device, Measurement
from compression_service.devices.services import take_in_device
from compression_service.variants.models import Footprint, Variant
from compression_service.variants.services import catalogue_grew, current_source, record_footprint
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_discuss, can_send_measurements
from models_registry.accounts.throttles import Limit, count_try
from models_registry.errors import BadRequest, Conflict, Forbidden, Unauthorized
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository

logger = logging.getLogger(__name__)
AGREE = 1.15  # senders whose figures lie within this of one another confirm each other
MOST_COMPARED = 50  # of other accounts' newest runs
SENDINGS_A_DAY = Limit("measurements", 200, 24 * 3600)
_KEPT_OF_A_PROFILE = (
    "name", "processor", "vendor", "family", "architecture", "instruction_sets", "cores", "clock_mhz", "memory_bytes",
    "kernel", "system", "limits", "measured",
)  # fmt: skip


def send(actor: Actor, repository: Repository, body: dict[str, Any], *, hub: str) -> list[Footprint]:
    """Take in what `fithub measure --submit` sends; returns the footprints as they stand then.

    `hub` is its address, for the sentence at a gate. Raises Unauthorized, GatedRepo, Forbidden, BadRequest (missing,
    forged or impossible), Conflict (sent before, or another machine than the device of that name), TooManyRequests.
    """
    if actor.user is None:
        raise Unauthorized("Sign in or send a token: measurements carry the name of who took them.")
    if not can_send_measurements(actor, repository):
        if can_discuss(actor, repository):
            require_files(actor, repository, hub)
        raise Forbidden("Your token may not send measurements: use one with the role write.")
    count_try(SENDINGS_A_DAY, f"user {actor.user.pk}")
    try:
        sending = records.read(body, timezone.now())
    except records.RecordError as error:
        raise BadRequest(str(error)) from error
    with transaction.atomic():
        source = current_source(repository)
        ready = Variant.objects.filter(source=source, status=Variant.Status.READY) if source else Variant.objects.none()
        variants = {variant.name: variant for variant in ready}
        for one in sending.records:
            _require_served(variants, one)
        if Measurement.objects.filter(digest__in=[one.digest for one in sending.records]).exists():
            raise Conflict("These samples were sent before: a measurement counts once. Measure again to confirm it.")
        profile = {key: sending.profile[key] for key in _KEPT_OF_A_PROFILE if key in sending.profile}
        device = take_in_device(actor, sending.device, profile)
        for one in sending.records:
            _require_own(actor, variants[one.variant], device, one)
            Measurement.objects.create(
                sender=actor.user, variant=variants[one.variant], device=device, threads=one.threads,
                runtime=sending.runtime, digest=one.digest, p50_ms=one.p50_ms, p90_ms=one.p90_ms,
                peak_memory_bytes=one.peak_memory_bytes, record=one.record, measured_at=sending.measured_at,
            )  # fmt: skip
        settled = [settle(variants[one.variant], device, one.threads, sending.runtime) for one in sending.records]
        catalogue_grew(repository)
    logger.info("%s sent %d records of %s on %s", actor.name, len(settled), repository.full_name, device.name)
    return settled


def settle(variant: Variant, device: Device, threads: int, runtime: str) -> Footprint:
    """The footprint which all senders of a place come to. What a worker measured stays; who disagrees raises a flag."""
    place = {"variant": variant, "device": device, "threads": threads, "runtime": runtime}
    newest: dict[int, Measurement] = {}
    for row in Measurement.objects.filter(**place).order_by("measured_at", "pk"):
        newest[row.sender_id] = row
    rows = list(newest.values())
    verified = Footprint.objects.filter(**place, trust="verified").first()
    known: list[tuple[float | None, int | None]] = [(row.p50_ms, row.peak_memory_bytes) for row in rows]
    if verified is not None:
        known.append((verified.p50_ms, verified.peak_memory_bytes))
    disputed = not _agree(known)
    if verified is None:
        slowest = max(rows, key=lambda row: (row.p90_ms, row.pk))
        trust = "confirmed" if len(rows) > 1 and not disputed else "reported"
        record_footprint(variant, device, slowest.record, runtime, slowest.measured_at, trust=trust)
    Footprint.objects.filter(**place).update(disputed=disputed, senders=len(rows))
    return Footprint.objects.select_related("device", "variant").get(**place)


def measurements_of(repository: Repository, variant: str = "") -> list[Measurement]:
    """What was sent for a model's current variants, the newest first, at most 100; with their raw samples."""
    rows = Measurement.objects.filter(variant__source=current_source(repository)).select_related("device", "sender")
    if variant:
        rows = rows.filter(variant__name=variant)
    return list(rows.select_related("variant").order_by("-pk")[:100])


def _require_served(variants: dict[str, Variant], one: records.Sent) -> None:
    """BadRequest unless every file that was measured is one which the hub serves for that variant now."""
    variant = variants.get(one.variant)
    if variant is None:
        raise BadRequest(
            f"{one.variant!r} is no variant which can be pulled here: measure one of {', '.join(variants)}."
        )
    served = {file["path"]: file["sha256"] for file in variant.files}
    wrong = [path for path, sha256 in one.files.items() if served.get(path) != sha256]
    missing = [part["path"] for part in variant.components if part["path"] not in one.files]
    if wrong or missing:
        raise BadRequest(
            f"{(wrong or missing)[0][:200]} of {one.variant} is not the file which this hub serves: pull it again and"
            " measure that."
        )


def _require_own(actor: Actor, variant: Variant, device: Device, one: records.Sent) -> None:
    """Conflict for another account's run in disguise, which would confirm it."""
    rows = Measurement.objects.filter(variant=variant, device=device).exclude(sender=actor.user).order_by("-pk")
    for sender, samples in rows.values_list("sender__username", "record__samples_ms")[:MOST_COMPARED]:
        if records.resembles(one.record["samples_ms"], samples):
            raise Conflict(
                f"The samples of {one.variant} are those which {sender} sent, only changed: a copy confirms nothing."
                " Measure on your own machine."
            )


def _agree(known: list[tuple[float | None, int | None]]) -> bool:
    for at in (0, 1):
        values = [float(pair[at]) for pair in known if pair[at] is not None]  # type: ignore[arg-type]
        if values and max(values) > AGREE * min(values):
            return False
    return True
