"""The processor packages' own energy meters (RAPL), for who is no measuring window: the harness reads them itself."""

from .harness import _idle_watts as idle_watts
from .harness import _joules as joules

__all__ = ["idle_watts", "joules"]
