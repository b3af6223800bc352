"""The device profile: what machine a footprint was taken on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

SHOWN_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni",
    "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve",
)  # fmt: skip
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")
OF_A_CLASS = ("architecture", "processor", "cores")  # the same on all machines of one class
DOT_PRODUCT_FLAGS = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm", "amx_int8"}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_sets() -> list[str]:
    """The instruction sets that matter for inference, as the kernel names them."""
    found = set(_cpuinfo("flags", "Features").split())
    return [flag for flag in SHOWN_FLAGS if flag in found]


def has_vnni() -> bool:
    """True when the processor has 8-bit dot products, so that U8S8 does not saturate."""
    return bool(DOT_PRODUCT_FLAGS & set(instruction_sets()))


def profile() -> dict[str, Any]:
    """{"name", "processor", "vendor", "instruction_sets", "cores", "memory_bytes", "kernel", "limits", …}."""
    processor = _cpuinfo("model name", "Model", "Hardware") or platform.processor() or platform.machine()
    vendor = _cpuinfo("vendor_id", "CPU implementer")
    count = cores()
    return {
        "name": device_name(processor, vendor, count, cpu_quota()),
        "processor": processor,
        "vendor": vendor,
        "family": {key: _cpuinfo(key) for key in ("cpu family", "model", "stepping") if _cpuinfo(key)},
        "architecture": platform.machine(),
        "instruction_sets": instruction_sets(),
        "cores": count,
        "clock_mhz": clock_mhz(),
        "memory_bytes": memory_bytes(),
        "kernel": platform.release(),
        "system": platform.system(),
        "limits": container_limits(),
    }


def differs(one: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether a profile is of a machine of another class than the known one, by what that one states."""
    return any(one.get(key) != known[key] for key in OF_A_CLASS if known.get(key))


def in_words(profile: dict[str, Any]) -> str:
    """What `differs` compares, e.g. `Cortex-A76, aarch64, 4 cores`."""
    found = [str(profile[key]) for key in ("processor", "architecture") if profile.get(key)]
    return ", ".join([*found, f"{profile.get('cores') or 'unknown'} cores"])


def device_name(processor: str, vendor: str, count: int, quota: float | None = None) -> str:
    """A slug such as `amd-epyc-2c`; with a quota of half a processor `amd-epyc-2c-0.5cpu`, which is another machine."""
    text = re.sub(r"\(.*?\)|@.*|\b(cpu|processor|with radeon.*|\d+-core)\b", " ", processor, flags=re.IGNORECASE)
    words = re.findall(r"[a-z0-9]+", text.lower())
    maker = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(vendor)
    if maker and maker not in words:
        words.insert(0, maker)
    limit = [f"{quota:.2f}".rstrip("0").rstrip(".") + "cpu"] if quota is not None and quota < count else []
    return "-".join([*(words or ["unknown"]), f"{count}c", *limit])


def clock_mhz() -> float | None:
    """The highest clock that the kernel states, else the one of this moment."""
    highest = _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"))
    now = _cpuinfo("cpu MHz")
    try:
        return float(highest) / 1000 if highest else float(now)
    except ValueError:
        return None


def memory_bytes() -> int | None:
    """Physical memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def available_bytes() -> int | None:
    """Memory which may still be taken, by the machine and by this process's cgroup; None where nobody says."""
    found = [int(value.split()[0]) * 1024 for value in [_value(MEMORY, "MemAvailable:")] if value]
    most, now = _read(CGROUPS / "memory.max"), _read(CGROUPS / "memory.current")
    if most.isdecimal() and now.isdecimal():
        cached = int(_value(CGROUPS / "memory.stat", "inactive_file") or 0)  # given back where it is wanted
        found.append(max(0, int(most) - int(now) + cached))
    return min(found, default=None)


def _value(path: Path, key: str) -> str:
    """What follows a key at the beginning of a line; "" without one."""
    return next((line[len(key) :].strip() for line in _read(path).splitlines() if line.startswith(key)), "")


def container_limits() -> dict[str, str]:
    """The cgroup's limits as the kernel states them; empty where there are none to read."""
    found = {}
    for name in ("memory.max", "cpu.max", "cpuset.cpus.effective"):
        text = _read(CGROUPS / name)
        if text:
            found[name] = text
    return found


def cpu_quota() -> float | None:
    """How many processors' time this process's cgroup is granted; None without a limit."""
    for line in _read(OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be the host's: its own group is then the root of what is mounted.
        for folder in (CGROUPS / controllers / path.strip("/"), CGROUPS / controllers):
            text = _read(folder / "cpu.max")  # version 2: "50000 100000", "max 100000"
            if not text and controllers:
                text = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
            words = text.split()
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
                return int(words[0]) / int(words[1])
    return None


def _cpuinfo(*keys: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
