"""Info with every `expand`: true values from card and files, and nothing where nothing is known."""

import json
import struct

import pytest

from models_registry.hfapi.fields import EXPANDS
from models_registry.repos.models import GIT_TYPES, RepoType
from tests.factories import make_repository, push

pytestmark = pytest.mark.django_db
CARD = b"---\nlicense: mit\nbase_model: alice/base\nwidget: [{text: hi}]\nmodel-index: [{name: m, results: []}]\n---\nText\n"


def weights(shape):
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(text)) + text + b"1234"


@pytest.mark.parametrize("kind", GIT_TYPES)
def test_every_expand_answers(kind, alice, as_alice):
    repository = make_repository(alice, "r", kind, files={"README.md": b"# R"})
    keys = EXPANDS[kind].split()
    body = as_alice.get(f"/api/{kind.plural}/alice/r?" + "&".join(f"expand={key}" for key in keys)).json()
    assert set(keys) <= set(body) and body["id"] == repository.full_name
    row = as_alice.get(f"/api/{kind.plural}?" + "&".join(f"expand={key}" for key in keys)).json()[0]
    assert row == body
    bad = as_alice.get(f"/api/{kind.plural}?expand=author&expand=x")
    assert bad.status_code == 400 and bad.json()["error"].endswith("\n  → at expand[1]")


def test_what_files_say(alice, as_alice):
    make_repository(alice, "base")
    config = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "secret": 1}
    files = {
        "README.md": CARD, "config.json": json.dumps(config).encode(),
        "tokenizer_config.json": b'{"mask_token": {"content": "[MASK]"}}', "model.safetensors": weights([3, 5]),
        ".eval_results/a.yaml": b"- dataset: {id: a/b, task_id: t}\n  value: 0.5\n", ".eval_results/b.yaml": b"- x: 1\n",
    }  # fmt: skip
    model = make_repository(alice, "m", files=files)
    make_repository(alice, "app", RepoType.SPACE, files={"README.md": b"---\nmodels: [alice/m]\nsdk: static\n---\n"})
    body = as_alice.get(
        "/api/models/alice/m?" + "&".join(f"expand={key}" for key in EXPANDS[RepoType.MODEL].split())
    ).json()
    assert body["safetensors"] == {"parameters": {"F32": 15}, "total": 15}
    assert body["config"] == {
        "architectures": ["BertForMaskedLM"], "model_type": "bert", "tokenizer_config": {"mask_token": "[MASK]"}
    }  # fmt: skip
    assert (
        body["mask_token"] == "[MASK]"
        and body["pipeline_tag"] == "fill-mask"
        and body["library_name"] == "transformers"
    )
    assert body["transformersInfo"]["auto_model"] == "AutoModelForMaskedLM" and body["widgetData"] == [{"text": "hi"}]
    assert body["baseModels"] == ["alice/base"] and body["model-index"] == [{"name": "m", "results": []}]
    assert body["evalResults"][0]["data"]["value"] == 0.5 and "dataset.id" in body["evalResults"][1]["error"]
    assert body["spaces"] == ["alice/app"] and body["usedStorage"] > 0 and body["gguf"] is None
    assert as_alice.get("/api/models/alice/base?expand=childrenModelCount").json()["childrenModelCount"] == 1
    assert [row["id"] for row in as_alice.get("/api/models?num_parameters=min:10,max:20").json()] == ["alice/m"]
    assert [row["id"] for row in as_alice.get("/api/spaces?models=alice/m&linked=true").json()] == ["alice/app"]
    push(model, alice, {"model.safetensors": b"broken"})
    assert as_alice.get("/api/models/alice/m?expand=safetensors").json()["safetensors"] is None


def test_a_revision_has_its_own_card_and_files(alice, as_alice):
    model = make_repository(alice, "m", files={"README.md": CARD})
    old = as_alice.get("/api/models/alice/m").json()["sha"]
    push(model, alice, {"README.md": b"---\nlicense: apache-2.0\n---\n", "b.txt": b"b"})
    body = as_alice.get(f"/api/models/alice/m/revision/{old}").json()
    assert body["sha"] == old and body["cardData"]["license"] == "mit"
    assert {"rfilename": "b.txt"} not in body["siblings"]
    assert as_alice.get("/api/models/alice/m").json()["cardData"] == {"license": "apache-2.0"}


def test_security_is_told_from_scans(alice, as_alice):
    make_repository(alice, "m", files={"a.pkl": b"x"})
    body = as_alice.get("/api/models/alice/m?securityStatus=true").json()
    assert body["securityRepoStatus"] == {"scansDone": False, "filesWithIssues": []}
    assert "securityRepoStatus" not in as_alice.get("/api/models/alice/m").json()
