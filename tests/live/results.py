"""What live tests found, kept between runs so that parts of a matrix may be run apart; `python -m tests.live.results` prints it.

A result is a file `<table>/<client>.json` in LIVE_RESULTS (or .venv/live-results): {"client", "version", "features":
{feature: "ok" | "n.a.: why" | "FAILED: …"}}. With --write, docs/clients.md is written from them.
"""

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs" / "clients.md"
STORIES, TOOLS, EXPECTATIONS = "stories", "tools", "expectations"


def folder() -> Path:
    return Path(os.environ.get("LIVE_RESULTS") or PROJECT / ".venv" / "live-results")


def keep(table: str, client: str, version: str, features: dict[str, str]) -> None:
    """Remember what this client could do, instead of what was remembered of it before."""
    place = folder() / table
    place.mkdir(parents=True, exist_ok=True)
    data = {"client": client, "version": version, "features": features}
    (place / f"{_file_name(client)}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False))


def add(table: str, client: str, version: str, features: dict[str, str]) -> None:
    """The same where a client's features are found by several tests: what was remembered of others stays."""
    path = folder() / table / f"{_file_name(client)}.json"
    before = json.loads(path.read_text())["features"] if path.exists() else {}
    keep(table, client, version, before | features)


def _file_name(client: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", client)


def kept(table: str) -> list[dict[str, Any]]:
    rows = [json.loads(path.read_text()) for path in sorted((folder() / table).glob("*.json"))]
    order = [row["name"] for row in tomllib.loads((Path(__file__).with_name("clients.toml")).read_text())["client"]]
    return sorted(rows, key=lambda row: (order.index(row["client"]) if row["client"] in order else 99, row["client"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Feature × client as a Markdown table. What a client has no function for is n.a., and a footnote says why."""
    features = list(dict.fromkeys(feature for row in rows for feature in row["features"]))
    notes: dict[str, int] = {}

    def cell(row: dict[str, Any], feature: str) -> str:
        word, _, why = row["features"].get(feature, "-").partition(": ")
        if word != "n.a.":
            return word
        number = notes.setdefault(why, len(notes) + 1)
        return f"n.a. ({number})"

    lines = [["feature", *(f"{row['client']}<br>{row['version']}" for row in rows)], ["---"] * (len(rows) + 1)]
    lines += [[feature, *(cell(row, feature) for row in rows)] for feature in features]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    foot = "\n".join(f"{number}. n.a.: {why}" for why, number in notes.items())
    return text + ("\n\n" + foot if foot else "")


def expectations(rows: list[dict[str, Any]]) -> str:
    """How many hold in each mode, and those which do not, with the reason."""
    lines = ["| client | expectations | hold | do not hold |", "| --- | --- | --- | --- |"]
    bad: dict[str, str] = {}
    for row in rows:
        failed = {title: text for title, text in row["features"].items() if text != "ok"}
        total = len(row["features"])
        lines.append(f"| {row['client']} ({row['version']}) | {total} | {total - len(failed)} | {len(failed)} |")
        bad |= {f"{title} ({row['client']})": text.partition(": ")[2] for title, text in failed.items()}
    if bad:
        lines += ["", "Those which do not hold:", ""] + [f"- **{title}**: {why}" for title, why in bad.items()]
    return "\n".join(lines)


def page() -> str:
    head = Path(__file__).with_name("clients.md.head").read_text()
    parts = [head.strip(), "## huggingface_hub, version by version", table(kept(STORIES)), "## Other clients"]
    for row in kept(TOOLS):
        rows = "\n".join(f"| {name} | {text.partition(': ')[0]} |" for name, text in row["features"].items())
        parts.append(f"### {row['client']} {row['version']}\n\n| feature | |\n| --- | --- |\n{rows}")
    parts += ["## What the newest client expects of a hub", expectations(kept(EXPECTATIONS))]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    if "--forget" in sys.argv:
        for path in folder().glob("*/*.json"):
            path.unlink()
        return
    text = page()
    if "--write" in sys.argv:
        DOCS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
