"""Whether the hub would take records in is asked before anything is measured."""

import json
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def client(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "client"))


def listed(**changes):
    from fithub.measuring import machine

    own = {key: value for key, value in machine.profile().items() if key in (*machine.OF_A_CLASS, "name")}
    return own | {"yours": False, "datasheet": None} | changes


def test_inputs_are_made_as_the_hub_s_own_record_says_before_anybody_s():
    from fithub import remeasuring

    rows = [
        {"trust": trust, "input_shapes": {"m": trust}, "inputs": {}} for trust in ("reported", "confirmed", "verified")
    ]
    assert remeasuring._shapes("alice/m", {"footprints": rows})["input_shapes"] == {"m": "verified"}
    assert remeasuring._shapes("alice/m", {"footprints": rows[:2]})["input_shapes"] == {"m": "confirmed"}


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [({}, False), ({"cores": 999}, True), ({"cores": 999, "yours": True}, False), ({"cores": 999, "name": "x"}, False),
     ({"processor": "Another"}, True), ({"processor": "Another", "datasheet": {"sources": {}}}, False)],
)  # fmt: skip
def test_another_machine_of_that_name_is_refused_before_measuring(monkeypatch, capsys, changes, is_refused):
    from fithub import choosing, hub, remeasuring
    from fithub.cli import main

    monkeypatch.setattr(hub, "get", lambda *_arguments, **_more: {"name": "alice"})
    monkeypatch.setattr(choosing, "devices", lambda **_more: [listed(**changes)])
    monkeypatch.setattr(remeasuring, "measure", lambda *_arguments, **_more: {"measured": True})
    monkeypatch.setattr(remeasuring, "submit", lambda _taken: {"sentence": "Taken."})
    monkeypatch.setattr("fithub.shown.records", lambda _taken: "records")
    assert main(["measure", "alice/m", "--submit", "--json"]) == (2 if is_refused else 0)
    said = json.loads(capsys.readouterr().out)
    assert "another machine at the hub" in said["error"] if is_refused else said["measured"]
