"""FitHub's light client: `fit`, `why`, `variants`, `pull`, `pull_locked`, `measure`, `submit`, `device`, `run`.

Nothing is imported before it is used: the measuring process imports this package, and its memory is a figure.
"""

from importlib import import_module

__version__ = "0.1.0"
_HOMES = {
    "fit": "choosing", "fit_across": "choosing", "why": "choosing", "variants": "choosing",
    "pull": "pulling", "pull_locked": "pulling", "Pulled": "pulling",
    "measure": "remeasuring", "submit": "remeasuring", "device": "machines", "run": "running",
    "FitHubError": "errors", "NothingFits": "errors", "LockDiffers": "errors", "NotFound": "errors",
    "BadRequest": "errors", "Unreachable": "errors", "CannotRunHere": "errors",
}  # fmt: skip
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'fithub' has no attribute {name!r}")
    return getattr(import_module(f"fithub.{_HOMES[name]}"), name)
