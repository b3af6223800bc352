"""`python -m models_registry.scanning.scan task.json`: which names the pickles in some files would import.

Run in the sandbox by a worker. Pickles are disassembled by picklescan, never loaded.
"""

import json
import sys
from pathlib import Path
from typing import Any

from picklescan.scanner import SafetyLevel, scan_file_path


def scan(path: Path) -> dict[str, Any]:
    """{"name", "status": safe|suspicious|unsafe, "detail", "imports": ["module.name"]}."""
    result = scan_file_path(str(path))
    found = {f"{item.module}.{item.name}": item.safety for item in result.globals}
    dangerous = sorted(name for name, level in found.items() if level == SafetyLevel.Dangerous)
    doubtful = sorted(name for name, level in found.items() if level == SafetyLevel.Suspicious)
    if dangerous or result.infected_files:
        status, detail = "unsafe", f"Loading it would run {', '.join(dangerous[:5]) or 'code'}: do not load this file."
    elif doubtful or result.scan_err:
        status = "suspicious"
        detail = (
            f"It imports {', '.join(doubtful[:5])}." if doubtful else "It could not be read to its end as a pickle."
        )
    else:
        status, detail = "safe", ""
    return {"name": path.name, "status": status, "detail": detail, "imports": sorted(found)[:200]}


def main(task_path: str) -> int:
    task = json.loads(Path(task_path).read_text())
    files = []
    for number, name in enumerate(task["names"]):
        print(json.dumps({"progress": number / len(task["names"]), "message": "scanning"}), flush=True)
        try:
            files.append(scan(Path(task["folder"]) / name))
        except Exception as error:
            detail = f"It could not be read ({type(error).__name__}): treat it as unsafe."
            files.append({"name": name, "status": "suspicious", "detail": detail, "imports": []})
    Path("result.json").write_text(json.dumps({"files": files}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
