"""Bounds which the site needs to know too: nothing here loads a runtime."""

STREAMED_FROM_BYTES = 512 * 1024 * 1024  # from here on a model's weights stay in their files (engine/streamed.py)
