"""Source models, the variants which recipes made of them, and their footprints."""

from django.db import models

from compression_service.devices.models import Device
from models_registry.repos.models import Repository


class SourceModel(models.Model):
    """What a contributor pushed, at one commit: the root of a family of variants."""

    class Status(models.TextChoices):
        MAKING = "making"
        READY = "ready"
        REFUSED = "refused"
        FAILED = "failed"

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="source_models")
    commit = models.CharField(max_length=40)
    digest = models.CharField(max_length=64, help_text="of all files which matter: a new README makes no new variants")
    status = models.CharField(max_length=10, choices=Status, default=Status.MAKING)
    reason = models.TextField(blank=True, help_text="why there are no variants, for the contributor")
    format = models.CharField(max_length=40, blank=True)
    dataset = models.CharField(max_length=200, blank=True, help_text="the dataset of this hub which the card names")
    dataset_commit = models.CharField(max_length=40, blank=True)
    waits_for = models.TextField(blank=True, help_text="datasets which the card names while none is here, a line each")
    detail = models.JSONField(default=dict, help_text="components, support files, evidence, versions, wishes, notes")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "digest"], name="one_source_a_digest")]

    def __str__(self) -> str:
        return f"{self.repository} at {self.commit[:8]}"


class Variant(models.Model):
    """What a recipe made of a source model, or why it did not."""

    class Status(models.TextChoices):
        MAKING = "making"
        READY = "ready"
        QUARANTINED = "quarantined"
        FAILED = "failed"
        NOT_APPLICABLE = "not_applicable"

    source = models.ForeignKey(SourceModel, models.CASCADE, related_name="variants")
    name = models.CharField(max_length=80)
    recipe = models.CharField(max_length=80)
    recipe_version = models.CharField(max_length=20, blank=True)
    definition = models.JSONField(default=dict, help_text="the recipe as it was then; {} before it was kept")
    title = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="the order in which they are made")
    status = models.CharField(max_length=14, choices=Status, default=Status.MAKING)
    reason = models.TextField(blank=True)
    commit = models.CharField(max_length=40, blank=True)
    components = models.JSONField(default=list, help_text="[{name, path}] of the ONNX files")
    files = models.JSONField(default=list, help_text="[{path, size_bytes, sha256}] of every file a loader needs")
    size_bytes = models.BigIntegerField(null=True)
    passes = models.JSONField(default=list)
    fidelity = models.FloatField(null=True)
    fidelity_metric = models.CharField(max_length=40, blank=True)
    fidelity_inputs = models.JSONField(default=dict)
    metric = models.JSONField(null=True)
    flagged = models.BooleanField(default=False, help_text="more than one point lost")
    provenance = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="one_variant_a_recipe")]

    def __str__(self) -> str:
        return f"{self.name} of {self.source}"

    @property
    def ref(self) -> str:
        return f"refs/variants/{self.name}"


class Footprint(models.Model):
    """What a variant costs and loses on one device with one number of threads. Null is what was not measured."""

    variant = models.ForeignKey(Variant, models.CASCADE, related_name="footprints")
    device = models.ForeignKey(Device, models.PROTECT, related_name="footprints")
    threads = models.PositiveSmallIntegerField()
    runtime = models.CharField(max_length=80)
    opset = models.PositiveSmallIntegerField(null=True)
    trust = models.CharField(max_length=10, default="verified")
    noisy = models.BooleanField(default=False)
    disputed = models.BooleanField(default=False, help_text="those who measured it are more than 15 % apart")
    senders = models.PositiveSmallIntegerField(default=0, help_text="people who sent records of it")
    stale = models.BooleanField(default=False)
    size_bytes = models.BigIntegerField()
    wire_bytes = models.BigIntegerField()
    peak_memory_bytes = models.BigIntegerField(null=True)
    added_memory_bytes = models.BigIntegerField(null=True)
    load_cold_ms = models.FloatField(null=True)
    load_warm_ms = models.FloatField(null=True)
    p50_ms = models.FloatField(null=True)
    p90_ms = models.FloatField(null=True)
    throughput_per_s = models.FloatField(null=True)
    record = models.JSONField(
        default=dict, help_text="the whole record: percentiles, samples, identity, options, noise"
    )
    measured_at = models.DateTimeField()

    class Meta:
        ordering = ["threads"]
        constraints = [
            models.UniqueConstraint(fields=["variant", "device", "threads", "runtime"], name="newest_record_a_place")
        ]

    def __str__(self) -> str:
        return f"{self.variant} on {self.device} with {self.threads} threads"


class Catalogue(models.Model):
    """Counts the changes to a repository's variants and footprints; a fit names the version it was chosen from."""

    repository = models.OneToOneField(Repository, models.CASCADE, related_name="catalogue")
    version = models.PositiveIntegerField(default=0)
    offered_version = models.PositiveIntegerField(default=0, help_text="which version selection/offers.py has seen")
    offered_ground = models.CharField(max_length=16, default="", help_text="what the estimates in its offers rest on")

    def __str__(self) -> str:
        return f"{self.repository} v{self.version}"
