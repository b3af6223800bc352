"""The shapes of measuring.md §3.8 for the OpenAPI document. Null is what was not measured."""

from rest_framework import serializers as s


class RecipeShape(s.Serializer):
    """`steps` holds a list a step: [["pass", {parameters}], …], of which the first that applies is taken."""

    name = s.CharField()
    version = s.CharField()
    title = s.CharField()
    suffix = s.CharField(help_text="model<suffix>.onnx")
    why = s.CharField()
    steps = s.ListField(child=s.ListField(child=s.JSONField()))
    origin = s.ChoiceField(["engine", "administrator"])


class File(s.Serializer):
    path = s.CharField()
    size_bytes = s.IntegerField()
    sha256 = s.CharField()


class Load(s.Serializer):
    cold = s.FloatField(allow_null=True)
    warm = s.FloatField(allow_null=True)


class Latency(s.Serializer):
    min = s.FloatField(allow_null=True)
    p50 = s.FloatField(allow_null=True)
    p90 = s.FloatField(allow_null=True, help_text="budgets are checked against this one")
    p90_low = s.FloatField(allow_null=True, help_text="the p90 of the quietest slice of the session")
    p90_high = s.FloatField(allow_null=True, help_text="the p90 of its busiest slice: how far the p90 may move")
    p95 = s.FloatField(allow_null=True)
    p99 = s.FloatField(allow_null=True)
    mean = s.FloatField(allow_null=True)
    stdev = s.FloatField(allow_null=True)
    count = s.IntegerField(allow_null=True)


class Metric(s.Serializer):
    name = s.CharField()
    value = s.FloatField()
    source_value = s.FloatField(allow_null=True, help_text="null where a perfect copy of the source has no figure")
    low = s.FloatField(allow_null=True, required=False, help_text="of the 95 % interval")
    high = s.FloatField(allow_null=True, required=False)
    count = s.IntegerField(required=False)
    unit = s.CharField(required=False, help_text="share, dB, or empty")
    better = s.ChoiceField(["higher", "lower"], required=False)
    reference = s.ChoiceField(["labels", "source"], required=False, help_text="what is taken for right")


class FootprintShape(s.Serializer):
    device = s.CharField()
    threads = s.IntegerField()
    runtime = s.CharField()
    trust = s.ChoiceField(["verified", "confirmed", "reported", "estimated"])
    noisy = s.BooleanField()
    stale = s.BooleanField()
    disputed = s.BooleanField(help_text="those who measured it are more than 15 % apart")
    senders = s.IntegerField()
    size_bytes = s.IntegerField()
    wire_bytes = s.IntegerField()
    peak_memory_bytes = s.IntegerField(allow_null=True, help_text="VmHWM of the whole process")
    added_memory_bytes = s.IntegerField(allow_null=True, help_text="less the runtime's own")
    load_ms = Load()
    latency_ms = Latency()
    throughput_per_s = s.FloatField(allow_null=True)
    fidelity = s.FloatField(allow_null=True)
    fidelity_metric = s.CharField(allow_null=True)
    fidelity_inputs = s.DictField(allow_null=True)
    metric = Metric(allow_null=True)
    ran_within = s.DictField(allow_null=True, required=False, help_text="bytes, by: a limit under which it ran")
    energy_mj = s.FloatField(allow_null=True, help_text="of one inference")
    energy_method = s.CharField(
        allow_null=True, help_text="rapl, nvml or meter: measured; estimate: never ranked before"
    )
    measured_at = s.DateTimeField()


class DeviceShape(s.Serializer):
    name = s.CharField()
    title = s.CharField(allow_null=True)
    processor = s.CharField(allow_null=True)
    architecture = s.CharField(allow_null=True)
    instruction_sets = s.ListField(child=s.CharField(), allow_null=True)
    cores = s.IntegerField(allow_null=True)
    memory_bytes = s.IntegerField(allow_null=True)
    measured = s.DictField(allow_null=True, help_text="speeds which were measured there, by number of threads")
    datasheet = s.DictField(allow_null=True, help_text="peaks which makers state, and where: never measured")
    origin = s.ChoiceField(["worker", "sent", "datasheet"])
    records = s.IntegerField()
    yours = s.BooleanField(help_text="you sent its profile, or administer the hub: you may send it anew")


class MeasurementShape(s.Serializer):
    variant = s.CharField()
    sender = s.CharField()
    device = s.CharField()
    threads = s.IntegerField()
    runtime = s.CharField()
    p50_ms = s.FloatField()
    p90_ms = s.FloatField()
    peak_memory_bytes = s.IntegerField()
    samples_ms = s.ListField(child=s.FloatField(), allow_null=True)
    ratio_to_source = s.DictField(allow_null=True)
    measured_at = s.DateTimeField()


class SendingShape(s.Serializer):
    device = s.DictField(help_text="the profile, as `fithub device` prints it")
    identity = s.DictField(help_text="harness, versions, measured_at, and sha256 of every file by variant")
    records = s.ListField(child=s.DictField(), help_text="with raw samples_ms")


class TakenShape(s.Serializer):
    variant = s.CharField()
    threads = s.IntegerField()
    trust = s.ChoiceField(["verified", "confirmed", "reported"])
    disputed = s.BooleanField()


class SentShape(s.Serializer):
    device = s.CharField()
    taken = TakenShape(many=True)
    sentence = s.CharField()


class VariantShape(s.Serializer):
    name = s.CharField()
    recipe = s.CharField()
    status = s.ChoiceField(["ready", "making", "quarantined", "failed", "not_applicable"])
    reason = s.CharField(allow_null=True)
    revision = s.CharField(allow_null=True, help_text="refs/variants/…")
    commit = s.CharField(allow_null=True)
    components = s.ListField(child=s.DictField())
    files = File(many=True)
    beaten_by = s.ListField(child=s.CharField())
    footprints = FootprintShape(many=True)


class SourceShape(s.Serializer):
    commit = s.CharField()
    status = s.ChoiceField(["making", "ready", "refused", "failed"])
    reason = s.CharField(allow_null=True)
    format = s.CharField(allow_null=True)
    dataset = s.CharField(allow_null=True)


class VariantsShape(s.Serializer):
    catalogue_version = s.CharField()
    source = SourceShape(allow_null=True)  # type: ignore[assignment]
    variants = VariantShape(many=True)


class DropShape(s.Serializer):
    variant = s.CharField()
    limit = s.CharField()
    value = s.JSONField(allow_null=True)
    allowed = s.JSONField(allow_null=True)
    sentence = s.CharField()


class FitShape(s.Serializer):
    budget = s.CharField()
    revision = s.CharField()
    answer = s.ChoiceField(["proven", "likely", "unknown", "none"])
    variant = s.CharField(allow_null=True)
    commit = s.CharField(allow_null=True)
    reasons = s.ListField(child=s.CharField())
    dropped = DropShape(many=True)
    nearest_miss = DropShape(allow_null=True)
    figures = s.DictField(allow_null=True, help_text="the record which the answer rests on")
    catalogue_version = s.CharField()
    sentence = s.CharField()
    repository = s.CharField()


class SavedBudgetShape(s.Serializer):
    budget = s.CharField(allow_blank=True)
    revision = s.CharField()
    variant = s.CharField(allow_null=True, help_text="null: nothing fits")
    commit = s.CharField(allow_null=True)
    answer = s.ChoiceField(["proven", "likely", "unknown", "none"])
    told_at = s.DateTimeField(allow_null=True, help_text="when the answer changed last")
    created_at = s.DateTimeField()


class SavingShape(s.Serializer):
    budget = s.CharField(allow_blank=True, help_text="e.g. memory=512MB,latency=20ms")


class AcrossResult(s.Serializer):
    repository = s.CharField()
    pipeline_tag = s.CharField(allow_null=True)
    variant = s.CharField()
    commit = s.CharField()
    revision = s.CharField()
    answer = s.ChoiceField(["proven", "likely", "unknown"])
    figures = s.DictField(help_text="null where something was not measured")


class AcrossShape(s.Serializer):
    budget = s.CharField()
    revision = s.CharField()
    results = AcrossResult(many=True)
    reasons = s.ListField(child=s.CharField())
    nearest_miss = s.DictField(allow_null=True)
    sentence = s.CharField()


class JobShape(s.Serializer):
    id = s.IntegerField()
    kind = s.CharField()
    state = s.ChoiceField(["queued", "running", "done", "failed", "cancelled"])
    progress = s.FloatField(help_text="0 to 1")
    message = s.CharField()
    error = s.CharField(allow_null=True)
    attempts = s.IntegerField()
    sandbox = s.CharField(allow_null=True)
    processor_seconds = s.FloatField(allow_null=True)
    energy_joules = s.FloatField(allow_null=True, help_text="by the machine's meter")
    created_at = s.DateTimeField()
    started_at = s.DateTimeField(allow_null=True)
    finished_at = s.DateTimeField(allow_null=True)
