"""The pages in a real browser: they come up whole, without script errors, at desktop and phone width.

WRITE_DOCS=1 keeps the model's page as docs/images/model-page.png.
"""

import os
import struct
from pathlib import Path

import pytest

from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live

PAGES = {
    "home": ("/", "Push a model"),
    "models": ("/models", "alice/"),
    "model": ("/alice/fitted?memory=512MB&latency=20ms", "Variants and what they cost"),
    "variant": ("/alice/fitted/variants/onnx", "Where it comes from"),
    "files": ("/alice/fitted/tree/main", "model.onnx"),
    "file": ("/alice/fitted/blob/main/model.onnx", "Download"),
    "history": ("/alice/fitted/commits/main", "initial commit"),
    "jobs": ("/alice/fitted/jobs", "measure"),
    "sign-in": ("/login", "Sign in"),
    "missing": ("/alice/nothing-here", "404"),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_the_browser(hub: Hub, fitted: str, chromium, tmp_path: Path, name: str):
    path, words = PAGES[name]
    done = chromium("--dump-dom", hub.url + path)
    assert words in done.stdout
    complaints = [
        line for line in done.stderr.splitlines() if ":CONSOLE" in line and "Failed to load resource" not in line
    ]
    assert complaints == [], "the browser complained: a script error, or something which the CSP refused"
    for width in (1280, 500):  # headless Chromium makes no narrower window
        target = tmp_path / f"{name}-{width}.png"
        chromium(f"--window-size={width},1700", f"--screenshot={target}", hub.url + path)
        data = target.read_bytes()
        assert struct.unpack(">II", data[16:24]) == (width, 1700)
        assert len(data) > 15_000, "the page is blank"
        if name == "model" and width == 1280 and os.environ.get("WRITE_DOCS"):
            (PROJECT / "docs" / "images" / "model-page.png").write_bytes(data)
