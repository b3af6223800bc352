"""The passes, one module each. Their names stand here, so that a recipe can be checked without loading any of them."""

PASS_NAMES = (
    "bias_correction", "clean", "embeddings", "external_data", "fold_qdq", "fp16", "fuse", "int4_storage",
    "int8_dynamic", "int8_static", "int8_storage", "keep", "patch_based", "prune_compensated", "prune_layers",
    "prune_magnitude", "prune_neurons", "row_sums", "session_options", "weight_only",
)  # fmt: skip
