"""Common targets which the hub knows before anybody measured there. Data only; none of it is a measurement.

`datasheet` holds what makers state, each figure with the document it stands in. Its speeds are peaks: clock times
operations a cycle, which no model reaches (docs/devices.md).
"""

from typing import Any

GB = 10**9
_A76 = ("asimd", "asimddp", "asimdhp")


def _target(
    title: str, processor: str, architecture: str, sets: tuple[str, ...], cores: int, memory_gb: int,
    clock_ghz: float, flops_a_cycle: int, int8_factor: int, bandwidth_gb_s: float, sources: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    """`flops_a_cycle`: fp32 operations of one core; `int8_factor`: how many times as many in int8."""
    return {
        "title": title,
        "processor": processor,
        "architecture": architecture,
        "instruction_sets": list(sets),
        "cores": cores,
        "memory_bytes": memory_gb * GB,
        "datasheet": {
            "clock_ghz": clock_ghz,
            "peak_fp32_gflops_a_core": clock_ghz * flops_a_cycle,
            "peak_int8_gops_a_core": clock_ghz * flops_a_cycle * int8_factor,
            "peak_memory_gb_s": bandwidth_gb_s,
            "sources": sources,
        },
    }


_CORTEX_A76 = "Arm Cortex-A76 Software Optimization Guide: two 128-bit FMLA and two SDOT a cycle"
SHIPPED: dict[str, dict[str, Any]] = {
    "raspberry-pi-5": _target(
        "Raspberry Pi 5, 8 GB", "Broadcom BCM2712, Cortex-A76", "aarch64", _A76, 4, 8, 2.4, 16, 4, 17.1,
        {
            "clock_ghz": "Raspberry Pi 5 product brief",
            "peak_fp32_gflops_a_core": _CORTEX_A76,
            "peak_int8_gops_a_core": _CORTEX_A76,
            "peak_memory_gb_s": "Raspberry Pi 5 product brief: LPDDR4X-4267, 32 bits wide",
        },
    ),
    "raspberry-pi-4": _target(
        "Raspberry Pi 4 Model B, 4 GB", "Broadcom BCM2711, Cortex-A72", "aarch64", ("asimd",), 4, 4, 1.5, 8, 2, 12.8,
        {
            "clock_ghz": "Raspberry Pi 4 Model B datasheet",
            "peak_fp32_gflops_a_core": "Arm Cortex-A72 Software Optimization Guide: one 128-bit FMLA a cycle",
            "peak_int8_gops_a_core": "the same guide: no dot products, widening multiplies",
            "peak_memory_gb_s": "Raspberry Pi 4 Model B datasheet: LPDDR4-3200, 32 bits wide",
        },
    ),
    "rock-5b": _target(
        "Radxa ROCK 5B, 8 GB (its four fast cores)", "Rockchip RK3588, Cortex-A76", "aarch64", _A76, 4, 8, 2.4, 16, 4,
        34.1,
        {
            "clock_ghz": "Rockchip RK3588 datasheet",
            "peak_fp32_gflops_a_core": _CORTEX_A76,
            "peak_int8_gops_a_core": _CORTEX_A76,
            "peak_memory_gb_s": "ROCK 5B product brief: LPDDR4X-4266, 64 bits wide",
        },
    ),
    "intel-n100": _target(
        "Mini computer with an Intel N100, 8 GB", "Intel Processor N100", "x86_64", ("avx2", "fma", "f16c", "avx_vnni"),
        4, 8, 3.4, 16, 4, 38.4,
        {
            "clock_ghz": "Intel product specifications of the N100: greatest turbo, of one core",
            "peak_fp32_gflops_a_core": "Intel 64 and IA-32 Optimization Manual, Gracemont: two 128-bit FMA a cycle",
            "peak_int8_gops_a_core": "the same manual: AVX-VNNI",
            "peak_memory_gb_s": "Intel product specifications of the N100: one channel of DDR5-4800",
        },
    ),
}  # fmt: skip

ALIASES = {"rpi5": "raspberry-pi-5", "pi5": "raspberry-pi-5", "rpi4": "raspberry-pi-4", "pi4": "raspberry-pi-4",
           "rock5b": "rock-5b", "n100": "intel-n100"}  # fmt: skip
