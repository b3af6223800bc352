"""The passes, one module each. Their names stand here, so that a recipe can be checked without loading any of them."""

PASS_NAMES = ("fp16", "int8_dynamic", "int8_static", "int4_weights", "prune_magnitude")
