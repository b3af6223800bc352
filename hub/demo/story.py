"""The demo's story, told with the stock client against a running hub."""

import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils import disable_progress_bars

from hub.demo import digits

DATASET, MODEL = "digits", "digits-mlp"
# A small server, and something with hardly any room for files.
BUDGETS = ("latency=20ms,memory=512MB", "fidelity=0.95,size=10KB")
PATIENCE_S = 900


@dataclass(frozen=True)
class Row:
    """One line of the table. Sizes in bytes, p90 in milliseconds, accuracy in 0…1."""

    name: str
    status: str
    size_bytes: int | None
    memory_bytes: int | None
    p90_ms: float | None
    accuracy: float | None
    note: str


class Story:
    """Pushes, waits, pulls, runs. `say` prints a line."""

    def __init__(self, endpoint: str, user: str, token: str, say: Callable[[str], None]) -> None:
        self.endpoint, self.user, self.token, self.say = endpoint, user, token, say
        self.api = HfApi(endpoint=endpoint, token=token)
        self.model_id, self.dataset_id = f"{user}/{MODEL}", f"{user}/{DATASET}"

    def tell(self) -> None:
        disable_progress_bars()
        folder = Path(tempfile.mkdtemp(prefix="fithub-demo-"))
        try:
            self._tell(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, folder: Path) -> None:
        data = digits.load()
        self.say(
            f"1. {len(data.train_labels)} digits to train on, {len(data.test_labels)} held back; training 64-128-10 …"
        )
        digits.write_dataset(data, folder / "dataset")
        digits.write_model(digits.train_network(data), folder / "model", self.dataset_id)
        self.say(f"2. pushing with huggingface_hub, as anyone would: HF_ENDPOINT={self.endpoint}")
        for kind, name, repo in (("dataset", "dataset", self.dataset_id), ("model", "model", self.model_id)):
            self.api.create_repo(repo, repo_type=kind, exist_ok=True)
            self.api.upload_folder(
                repo_id=repo, repo_type=kind, folder_path=folder / name, commit_message="Add the demo"
            )
            self.say(f"   {self.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}")
        self.say("3. the hub makes the variants and measures them:")
        body = self._wait()
        self.say("4. two deployments say what they can afford, and pull:")
        for budget in BUDGETS:
            self._pull(budget, folder, data)
        self.say("")
        self.say(f"5. source against variants (accuracy on {len(data.test_labels)} digits which were held back):")
        self.say(table([self._row(variant, folder, data) for variant in body["variants"]]))
        self.say(self._how_measured(body))

    def _wait(self) -> dict[str, Any]:
        """Until the family is complete. Shows a progress bar on a terminal, else a line for each step."""
        began, shown = time.monotonic(), ""
        while True:
            body = self._get(f"/api/models/{self.model_id}/variants")
            source = body["source"]
            if source and source["status"] != "making":
                self._show(1.0, f"{sum(v['status'] == 'ready' for v in body['variants'])} variants are ready", shown)
                sys.stdout.write("\n" if sys.stdout.isatty() else "")
                if source["status"] != "ready":
                    raise RuntimeError(f"the hub made no variants: {source['reason']}")
                return body
            if time.monotonic() - began > PATIENCE_S:
                raise RuntimeError("the hub took too long: its log says why")
            shown = self._show(*self._progress(body), shown)
            time.sleep(0.3)

    def _progress(self, body: dict[str, Any]) -> tuple[float, str]:
        """Making counts for a third, measuring for the rest."""
        jobs = [job for job in self._get(f"/api/models/{self.model_id}/jobs") if job["state"] in ("queued", "running")]
        measuring = next((job for job in jobs if job["kind"] == "measure"), None)
        if measuring:
            return 0.33 + 0.67 * measuring["progress"], measuring["message"] or "waiting for the machine"
        planned = body["variants"]
        made = sum(variant["status"] != "making" for variant in planned)
        names = [variant["name"] for variant in planned if variant["status"] == "making"]
        return 0.33 * made / max(1, len(planned)), f"making {names[0]}" if names else "converting to ONNX"

    def _show(self, share: float, message: str, shown: str) -> str:
        if sys.stdout.isatty():
            bar = "█" * round(share * 30)
            sys.stdout.write(f"\r   {bar:░<30} {share:4.0%}  {message[:40]:<40}")
            sys.stdout.flush()
        elif message != shown:
            self.say(f"   {share:4.0%}  {message}")
        return message

    def _pull(self, budget: str, folder: Path, data: digits.Digits) -> None:
        answer = self._get(f"/api/models/{self.model_id}/fit?{budget.replace(',', '&')}")
        path = snapshot_download(
            self.model_id,
            revision=f"fit@{budget}",
            endpoint=self.endpoint,
            token=self.token,
            cache_dir=folder / "cache",
        )
        model = next(Path(path).glob("onnx/*.onnx"))
        accuracy = accuracy_of(model, data)
        self.say(f'   snapshot_download("{self.model_id}", revision="fit@{budget}")')
        self.say(
            f"     → {answer['variant']} ({answer['answer']}): {model.name}, {accuracy:.2%} of held-back digits right"
        )

    def _row(self, variant: dict[str, Any], folder: Path, data: digits.Digits) -> Row:
        if variant["status"] != "ready":
            return Row(variant["name"], variant["status"], None, None, None, None, variant["reason"] or "")
        path = snapshot_download(
            self.model_id,
            revision=variant["revision"],
            endpoint=self.endpoint,
            token=self.token,
            cache_dir=folder / "cache",
        )
        accuracy = accuracy_of(next(Path(path).glob("onnx/*.onnx")), data)
        record = next((row for row in variant["footprints"] if row["threads"] == 1), None)
        notes = ["source"] if variant["name"] == "onnx" else []
        notes += [f"beaten by {variant['beaten_by'][0]}"] if variant["beaten_by"] else []
        if record is None:
            return Row(
                variant["name"],
                "ready",
                sum(f["size_bytes"] for f in variant["files"]),
                None,
                None,
                accuracy,
                "not measured",
            )
        notes += ["noisy"] if record["noisy"] else []
        p90 = record["latency_ms"]["p90"]
        return Row(
            variant["name"], "ready", record["size_bytes"], record["peak_memory_bytes"], p90, accuracy, ", ".join(notes)
        )

    def _how_measured(self, body: dict[str, Any]) -> str:
        records = [row for variant in body["variants"] for row in variant["footprints"] if row["threads"] == 1]
        if not records:
            return ""
        first = records[0]
        return (
            f"   Measured by this hub on {first['device']} with {first['runtime']}, 1 thread, each in a fresh process; "
            f"about {first['seconds']:.0f} s and {first['latency_ms']['count']:,} runs each.\n"
            "   Memory is the peak of the whole process, runtime included."
        )

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self.endpoint + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def accuracy_of(model: Path, data: digits.Digits) -> float:
    """Share of the held-back digits which a model gets right."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    scores = session.run(None, {session.get_inputs()[0].name: data.test_pixels / np.float32(digits.MAX_PIXEL)})[0]
    return float((np.asarray(scores).argmax(1) == data.test_labels).mean())


def table(rows: list[Row]) -> str:
    """The table, right-aligned, with dashes for what there is not."""

    def cell(value: float | None, form: str, scale: float = 1.0) -> str:
        return "–" if value is None else form.format(value / scale)

    made = [row for row in rows if row.status != "not_applicable"]
    wide = max([17, *(len(row.name) + 2 for row in made)])
    lines = [f"   {'variant':<{wide}}{'size KB':>9}{'memory MB':>11}{'p90 ms':>10}{'accuracy':>10}   "]
    for row in made:
        figures = f"{cell(row.size_bytes, '{:.1f}', 1e3):>9}{cell(row.memory_bytes, '{:.1f}', 1e6):>11}"
        figures += f"{cell(row.p90_ms, '{:.4f}'):>10}{cell(row.accuracy, '{:.2%}'):>10}"
        note = row.note if row.status == "ready" else f"{row.status.replace('_', ' ')}: {row.note}"
        lines.append(f"   {row.name:<{wide}}{figures}   {note[:90]}".rstrip())
    if len(made) < len(rows):
        lines.append(f"   {len(rows) - len(made)} more recipes were not tried; the model's page says why for each.")
    return "\n".join(lines)
