"""The grammar of budgets, `fit@memory=512MB,latency=20ms` (measuring.md §3.6). Pure: no Django here."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

PREFIX = "fit@"
UPPER_LIMITS = ("size", "memory", "latency", "load", "energy")
LOWER_LIMITS = ("fidelity", "throughput")
WHERE = ("device", "threads", "runtime", "opset", "format", "options")
OPTIONS = ("default", "any")  # whether whoever loads the variant sets the session options which it was measured with
GOALS = ("latency", "memory", "size", "energy", "fidelity")
KEYS = tuple(sorted((*UPPER_LIMITS, *LOWER_LIMITS, *WHERE, "goal")))

_BYTES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_MILLISECONDS = {"": Decimal(1), "ms": Decimal(1), "us": Decimal("0.001"), "s": Decimal(1000)}
_MILLIJOULES = {"": Decimal(1), "mJ": Decimal(1), "J": Decimal(1000)}
_PLAIN = {"": Decimal(1)}
_UNITS: dict[str, Mapping[str, int | Decimal]] = {
    "size": _BYTES, "memory": _BYTES, "latency": _MILLISECONDS, "load": _MILLISECONDS, "energy": _MILLIJOULES,
    "fidelity": _PLAIN, "throughput": _PLAIN,
}  # fmt: skip
_BASE_UNITS = {"latency": "ms", "load": "ms", "energy": "mJ"}
_WHOLE_NUMBERS = ("threads", "opset")

_TEXT_MAX_CHARACTERS = 1024
_MAX_PARTS = 64
_NUMBER_MAX_CHARACTERS = 24
_WORD_MAX_CHARACTERS = 64
_VALUE_MAX = Decimal(10) ** 15
_STEP = Decimal("0.000001")  # limits other than bytes are kept to six decimals
_DIGITS = frozenset("0123456789")
_WORD_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")


class BudgetError(ValueError):
    """The budget cannot be understood. The message is one sentence; `known` lists what would have been understood."""

    def __init__(self, sentence: str, known: Iterable[str] = ()) -> None:
        super().__init__(sentence)
        self.known = list(known)


@dataclass(frozen=True)
class Budget:
    """What a deployment can afford. Equal budgets are equal objects, in whatever order their keys were written."""

    limits: tuple[tuple[str, Decimal], ...] = ()  # bytes, ms, mJ, inferences/s, or 0..1; sorted by key
    where: tuple[tuple[str, str], ...] = ()  # device, threads, runtime, opset, format; sorted by key
    goal: str | None = None

    @property
    def canonical(self) -> str:
        """The one spelling of this budget: keys sorted, numbers in the shortest whole unit. Empty for `fit@` alone."""
        parts = {key: _limit_text(key, value) for key, value in self.limits} | dict(self.where)
        if self.goal:
            parts["goal"] = self.goal
        return ",".join(f"{key}={parts[key]}" for key in sorted(parts))

    @property
    def revision(self) -> str:
        """What a client passes as revision, e.g. `fit@latency=20ms,memory=512MB`."""
        return PREFIX + self.canonical

    @property
    def is_default(self) -> bool:
        """True without limit and goal: nothing lost beyond 1 point, then the fastest."""
        return not self.limits and self.goal is None

    def place(self, key: str) -> str | None:
        """The value of `device`, `runtime`, `format` or `options`, else None."""
        return dict(self.where).get(key)

    def whole_number(self, key: str) -> int | None:
        """The value of `threads` or `opset`, else None."""
        value = dict(self.where).get(key)
        return None if value is None else int(value)

    def require_known(self, key: str, known: Collection[str]) -> None:
        """BudgetError when `key` (device, runtime, format) names something which is not in `known`."""
        value = self.place(key)
        if value is not None and value not in known:
            raise BudgetError(f"The {key} {value!r} is not known here; see the list of what is known.", sorted(known))

    @classmethod
    def from_query(cls, query: Mapping[str, Any], ignore: Collection[str] = ()) -> "Budget":
        """The budget in a query string's parameters; values are texts or lists of texts. Other keys than `ignore` and
        the budget's own raise BudgetError, as does a key which is given twice."""
        lists = query.lists() if hasattr(query, "lists") else query.items()
        pairs = []
        for key, values in lists:
            if key not in ignore:
                pairs += [(key, value) for value in ([values] if isinstance(values, str) else values)]
        return _budget(pairs)


def parse_budget(text: str) -> Budget:
    """Read `fit@key=value,key=value`, with or without the `fit@`. Raises BudgetError with a sentence and `.known`."""
    if len(text) > _TEXT_MAX_CHARACTERS:
        raise BudgetError(f"A budget may have {_TEXT_MAX_CHARACTERS:,} characters at most; shorten it.", KEYS)
    text = text.removeprefix(PREFIX)
    if not text:
        return Budget()
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise BudgetError(f"{_shown(part)} is not of the form key=value; write for example memory=512MB.", KEYS)
        pairs.append((key, value))
    return _budget(pairs)


def limit_text(key: str, value: Decimal | float) -> str:
    """A limit's or a figure's value for people, with its unit: `24.1 MB`, `3.25 ms`, `0.98`."""
    number = float(value)
    if _UNITS.get(key) is _BYTES:
        for unit in ("GB", "MB", "KB"):
            if number >= _BYTES[unit]:
                return f"{_short(number / _BYTES[unit])} {unit}"
        return f"{_short(number)} B"
    unit = {"latency": " ms", "load": " ms", "energy": " mJ", "throughput": "/s"}.get(key, "")
    return f"{number:.5g}{unit}" if key == "fidelity" else f"{_short(number)}{unit}"


def _budget(pairs: list[tuple[str, str]]) -> Budget:
    if len(pairs) > _MAX_PARTS:
        raise BudgetError(f"A budget may have {_MAX_PARTS} parts at most; leave some out.", KEYS)
    limits: dict[str, Decimal] = {}
    where: dict[str, str] = {}
    goal: str | None = None
    for key, value in pairs:
        if key not in KEYS:
            raise BudgetError(f"{_shown(key)} is not a key of a budget; known are {', '.join(KEYS)}.", KEYS)
        if key in limits or key in where or (key == "goal" and goal is not None):
            raise BudgetError(f"The budget names {key} twice; name it once.", KEYS)
        if len(value) > _WORD_MAX_CHARACTERS or not value or not _WORD_CHARACTERS.issuperset(value):
            raise BudgetError(
                f"The value of {key} must be 1 to {_WORD_MAX_CHARACTERS} letters, digits or . _ + - without spaces.",
                _known_values(key),
            )
        if key in _UNITS:
            limits[key] = _limit(key, value)
        elif key == "goal":
            goal = _goal(value)
        elif key == "options":
            _check_options(value)
            where |= {key: value} if value != OPTIONS[0] else {}  # what holds without it, too
        else:
            where[key] = _whole_number(key, value) if key in _WHOLE_NUMBERS else value
    return Budget(tuple(sorted(limits.items())), tuple(sorted(where.items())), goal)


def _limit(key: str, text: str) -> Decimal:
    units = _UNITS[key]
    split = next((at for at, character in enumerate(text) if character not in _DIGITS and character != "."), len(text))
    number, unit = text[:split], text[split:]
    known = _known_values(key)
    if not number or number.count(".") > 1 or not number.strip("."):
        raise BudgetError(f"{key}={text} is not a number above 0; write for example {_EXAMPLES[key]}.", known)
    if unit not in units:
        raise BudgetError(f"{key}={text} has an unknown unit; write for example {_EXAMPLES[key]}.", known)
    if len(number) > _NUMBER_MAX_CHARACTERS:
        raise BudgetError(f"The number of {key} has too many digits; {_NUMBER_MAX_CHARACTERS} are enough.", known)
    value = Decimal(number) * units[unit]
    if value > _VALUE_MAX:
        raise BudgetError(f"{key}={text} is larger than any limit can be; leave {key} out instead.", known)
    if key == "fidelity" and value > 1:
        raise BudgetError(f"fidelity={text} is above 1; fidelity goes from 0 to 1, for example 0.98.", known)
    step = Decimal(1) if units is _BYTES else _STEP
    value = value.quantize(step, ROUND_CEILING if key in LOWER_LIMITS else ROUND_FLOOR).normalize()
    if value <= 0:
        raise BudgetError(f"{key}={text} is 0; a limit must be above 0.", known)
    return value


def _check_options(value: str) -> None:
    if value not in OPTIONS:
        raise BudgetError(f"options={value} is not known; known are {', '.join(OPTIONS)}.", OPTIONS)


def _goal(value: str) -> str:
    if value not in GOALS:
        raise BudgetError(f"The goal {value!r} is not known; known are {', '.join(GOALS)}.", GOALS)
    return value


def _whole_number(key: str, text: str) -> str:
    if not _DIGITS.issuperset(text) or len(text) > 6 or int(text) == 0:
        raise BudgetError(f"{key}={text} is not a whole number from 1 to 999999.")
    return str(int(text))


def _limit_text(key: str, value: Decimal) -> str:
    units = _UNITS[key]
    if units is not _BYTES:
        return f"{value:f}{_BASE_UNITS.get(key, '')}"
    whole = [f"{int(value) // size}{unit}" for unit, size in _BYTES.items() if unit and int(value) % int(size) == 0]
    return min(whole, key=len)


def _known_values(key: str) -> list[str]:
    if key in ("goal", "options"):
        return list(GOALS if key == "goal" else OPTIONS)
    return [unit for unit in _UNITS.get(key, {}) if unit]


def _short(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _shown(text: str) -> str:
    # Whoever wrote the budget reads this back: cut, and with control characters escaped.
    return ascii(text if len(text) <= 40 else text[:40] + "...")


_EXAMPLES = {
    "size": "size=10MB", "memory": "memory=512MB", "latency": "latency=20ms", "load": "load=1s", "energy": "energy=5mJ",
    "fidelity": "fidelity=0.98", "throughput": "throughput=100",
}  # fmt: skip
