"""Session options which are part of a variant: what onnxruntime is told when the variant's files are loaded.

Their names are those of onnxruntime's SessionOptions (attributes) and of its session configuration keys (with a dot).
Only what saves memory is known here: options come with records and rows, and others could write files or load code.
Shared with the light client: the standard library only.
"""

from __future__ import annotations

from typing import Any

ATTRIBUTES = ("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse")
CONFIGURATION = ("session.disable_prepacking", "session.use_device_allocator_for_initializers")


def problem(wanted: Any) -> str:
    """Why these are no session options of a variant, as a sentence; "" for {attribute: bool, key: "0" or "1"}."""
    if not isinstance(wanted, dict):
        return "Session options are an object of names and values."
    for name, value in wanted.items():
        if name in ATTRIBUTES:
            if not isinstance(value, bool):
                return f"The session option {name} is true or false."
        elif name in CONFIGURATION:
            if value not in ("0", "1"):
                return f'The session option {name} is "0" or "1".'
        else:
            known = ", ".join((*ATTRIBUTES, *CONFIGURATION))
            return f"{str(name)[:60]!r} is not a session option of variants; known are {known}."
    return ""


def apply(options: Any, wanted: dict[str, Any]) -> None:
    """Set them on an onnxruntime.SessionOptions. Raises ValueError with a sentence for one which is not known."""
    if why := problem(wanted):
        raise ValueError(why)
    for name, value in wanted.items():
        if name in ATTRIBUTES:
            setattr(options, name, value)
        else:
            options.add_session_config_entry(name, value)
