"""Answers as people read them."""

from __future__ import annotations

import json
from typing import Any


def fit(answer: dict[str, Any]) -> str:
    figures = answer.get("figures")
    lines = [answer["sentence"], f"  commit    {answer['commit']}", f"  revision  {answer['revision']}"]
    if figures:
        lines.append(f"  {_figures(figures)}")
    return "\n".join(lines)


def why(answer: dict[str, Any]) -> str:
    lines = [answer["sentence"], *(f"  {reason}" for reason in answer["reasons"])]
    lines += [f"  dropped: {drop['sentence']}" for drop in answer["dropped"]]
    return "\n".join(lines)


def across(answer: dict[str, Any]) -> str:
    rows = [("model", "variant", "answer", "fidelity", "p90", "memory", "size")]
    for one in answer["results"]:
        figures = one.get("figures") or {}
        rows.append((
            one["repository"], one["variant"], one["answer"], _number(figures.get("fidelity"), "{:.4f}"),
            _ms(figures.get("p90_ms")), _bytes(figures.get("peak_memory_bytes")), _bytes(figures.get("size_bytes")),
        ))  # fmt: skip
    return answer["sentence"] + "\n" + table(rows)


def pulled(one: Any) -> str:
    text = f"{one.repo_id}: {one.variant} at {one.commit[:12]}, {len(one.files)} files checked\n{one.folder}"
    for path, wanted in one.session_options.items():
        text += f"\nIts figures hold with the session options {json.dumps(wanted)} for {path}."
    return text


def variants(answer: dict[str, Any], device: str | None, threads: int) -> str:
    rows = [("variant", "status", "device", "trust", "size", "memory", "p90", "fidelity", "beaten by")]
    for row in answer["variants"]:
        found = [f for f in row["footprints"] if f["threads"] == threads and (device is None or f["device"] == device)]
        size = _bytes(sum(file["size_bytes"] for file in row["files"])) if row["files"] else "-"
        for one in found or [None]:
            rows.append((
                row["name"], row["status"], one["device"] if one else "-", _trust(one), size,
                _bytes(one and one["peak_memory_bytes"]), _ms(one and one["latency_ms"]["p90"]),
                _number(one and one["fidelity"], "{:.4f}"), ", ".join(row["beaten_by"]) or "-",
            ))  # fmt: skip
    return table(rows)


def devices(found: list[dict[str, Any]]) -> str:
    rows = [("device", "cores", "memory", "figures from", "records")]
    for one in found:
        rows.append(
            (one["name"], str(one["cores"] or "-"), _bytes(one["memory_bytes"]), one["origin"], str(one["records"]))
        )
    return table(rows)


def ran(answer: dict[str, Any]) -> str:
    lines = [
        f"{answer['variant']} of {answer['repository']} ran in {_ms(answer['ms'])}; its input was {answer['input']}."
    ]
    for name, made in answer["outputs"].items():
        lines.append(f"  {name} {made['dtype']} {made['shape']}")
        if "best" in made:
            lines += [f"    {one['value']:10.4f}  {one['label'] or one['class']}" for one in made["best"]]
        else:
            lines.append(f"    {made['first']}")
    return "\n".join(lines)


def records(taken: dict[str, Any]) -> str:
    rows = [("variant", "threads", "p50", "p90", "of the source", "memory", "ran within", "noisy")]
    for one in taken["records"]:
        if one.get("error"):
            rows.append((one["variant"], str(one["threads"]), one["error"], "", "", "", "", ""))
            continue
        within = one["ran_within"]["bytes"] if one.get("ran_within") else None
        latency = one["latency_ms"]
        reach = f" ({_ms(latency['p90_low'])} to {_ms(latency['p90_high'])})" if latency.get("p90_high") else ""
        rows.append((
            one["variant"], str(one["threads"]), _ms(latency["p50"]), _ms(latency["p90"]) + reach,
            _number(one["ratio_to_source"]["p50"], "{:.2f}"), _bytes(one["peak_memory_bytes"]), _bytes(within),
            one["noise"] or "no",
        ))  # fmt: skip
    return f"{taken['repository']} on {taken['device']['name']}\n" + table(rows)


def device(profile: dict[str, Any]) -> str:
    lines = [
        profile["name"], f"  {profile['processor']}, {profile['cores']} cores, {_bytes(profile['memory_bytes'])}",
        f"  {' '.join(profile['instruction_sets'])}",
    ]  # fmt: skip
    for threads, speeds in (profile.get("measured") or {}).get("threads", {}).items():
        lines.append(
            f"  {threads} thread(s): {speeds['fp32_gflops']} GFLOP/s fp32, {speeds['int8_gops']} Gop/s int8,"
            f" {speeds['copy_gb_s']} GB/s copied, {speeds['dispatch_us']} µs a call"
        )
    if profile.get("measured"):
        cold = profile["measured"]["cold_read_mb_s"]
        lines.append(f"  cold reads {cold} MB/s" if cold else "  cold reads: the page cache cannot be dropped here")
    return "\n".join(lines)


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _figures(figures: dict[str, Any]) -> str:
    return (
        f"{_bytes(figures['size_bytes'])} of files, {_bytes(figures['peak_memory_bytes'])} peak,"
        f" {_ms(figures['p90_ms'])} p90, fidelity {_number(figures['fidelity'], '{:.4f}')}"
        f" ({figures['trust']} on {figures['device']}, {figures['threads']} thread(s))"
    )


def _trust(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    # A noisy record is never shown as verified (measuring.md §1.5).
    return ("noisy" if one["noisy"] else one["trust"]) + (" stale" if one["stale"] else "")


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
