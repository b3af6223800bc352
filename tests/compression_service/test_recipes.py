"""Recipes of administrators, and what a card wishes of the recipes."""

import base64
import json

import pytest
from django.core.management import CommandError, call_command

from compression_service.engine.recipes import RECIPES
from compression_service.jobs.models import Job
from compression_service.recipes.models import AdministratorRecipe
from compression_service.recipes.services import added_recipes
from compression_service.recipes.wishes import Wishes, notes, wishes_of
from compression_service.variants.models import SourceModel, Variant
from models_registry.cards.services import check_card
from tests.compression_service.jobs.test_family import network, quick, run_all  # noqa: F401
from tests.factories import api_commit, make_family, make_repository, push

OWN = {
    "name": "prune-30+fp16",
    "version": "1",
    "title": "A third pruned, then 16 bits",
    "suffix": "_pruned30_fp16",
    "why": "For a test.",
    "steps": [[["prune_magnitude", {"sparsity": 0.3}]], [["fp16", {}]]],
}


def card(fithub: str) -> str:
    return f"---\nlicense: mit\nfithub:\n{fithub}---\n# M\n"


def file_of(tmp_path, **changes):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(OWN | changes))
    return path


@pytest.mark.django_db
def test_an_administrator_adds_lists_and_removes_a_recipe(tmp_path, anonymous, capsys):
    call_command("add_recipe", file_of(tmp_path))
    call_command("list_recipes")
    listed = capsys.readouterr().out
    assert "prune-30+fp16" in listed and "administrator" in listed and "int8-dynamic" in listed
    rows = {row["name"]: row for row in anonymous.get("/api/recipes").json()}
    assert rows["prune-30+fp16"] == OWN | {"origin": "administrator"}
    assert rows["fp16"]["origin"] == "engine" and [["fp16", {}]] in rows["fp16"]["steps"] and rows["fp16"]["why"]

    call_command("remove_recipe", "prune-30+fp16", disable=True)
    assert added_recipes() == [] and AdministratorRecipe.objects.exists()
    call_command("add_recipe", file_of(tmp_path))
    assert [recipe.name for recipe in added_recipes()] == ["prune-30+fp16"]
    call_command("remove_recipe", "prune-30+fp16")
    assert not AdministratorRecipe.objects.exists()
    with pytest.raises(CommandError, match="No administrator added a recipe"):
        call_command("remove_recipe", "fp16")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": [[["os", {}]]]}, "names the pass 'os'; known are"),
        ({"suffix": "_fp16"}, "which is that of fp16"),
        ({"suffix": "_first"}, "which is that of first"),
        ({"name": "fp16", "suffix": "_fp16"}, "The engine has a recipe fp16 of its own"),
        ({"name": "first", "suffix": "_first", "why": "changed"}, "raise its version"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_sentence(tmp_path, changes, sentence):
    call_command("add_recipe", file_of(tmp_path, name="first", suffix="_first"))
    with pytest.raises(CommandError, match=sentence):
        call_command("add_recipe", file_of(tmp_path, **changes))
    assert [recipe.name for recipe in added_recipes()] == ["first"]


@pytest.mark.django_db
def test_a_file_which_is_no_recipe(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(CommandError, match="is not JSON"):
        call_command("add_recipe", tmp_path / "x.json")
    with pytest.raises(CommandError, match="can not be read"):
        call_command("add_recipe", tmp_path / "missing.json")


@pytest.mark.django_db
def test_a_recipe_which_a_newer_engine_does_not_take_is_left_out(caplog):
    AdministratorRecipe.objects.create(name="old", definition=OWN | {"name": "old", "steps": [[["gone", {}]]]})
    assert added_recipes() == [] and "old is left out" in caplog.text


@pytest.mark.parametrize(
    ("fithub", "line", "words"),
    [
        ("  recipes: [int8]\n", 4, '"fithub.recipes" must be an object'),
        ("  recipes:\n    pin: 3\n", 5, '"fithub.recipes.pin" must be a string or an array'),
        ("  recipes:\n    pin: [a]\n    exclude: [1]\n", 6, '"fithub.recipes.exclude" must be'),
        ("  recipes:\n    pin: []\n", 5, "array of 1 to 50 strings"),
        ("  recipes:\n    pins: [a]\n", 5, '"fithub.recipes.pins" is not known here'),
        ("  recipes:\n    pin: [a]\n    exclude: [a]\n", 6, "names a, which pin names too"),
        ("  goal: fast\n", 4, '"fithub.goal" must be one of [latency'),
        ("  goal: [latency]\n", 4, '"fithub.goal" must be one of'),
    ],
)
def test_a_wrong_shape_is_refused_at_push_with_its_line(fithub, line, words):
    (problem,) = check_card(card(fithub))
    assert problem.line == line and words in problem.message


def test_a_right_shape_passes_and_a_dataset_has_no_recipes():
    assert check_card(card("  recipes:\n    pin: int8-dynamic\n    exclude: [not-a-recipe]\n  goal: size\n")) == []
    assert check_card(card("  recipes: 3\n"), "dataset") == []


@pytest.mark.django_db
def test_a_push_with_a_wrong_shape_is_refused(model, as_alice):
    content = base64.b64encode(card("  recipes:\n    pin: 3\n").encode()).decode()
    file = {"key": "file", "value": {"path": "README.md", "content": content, "encoding": "base64"}}
    answer = api_commit(as_alice, model, file)
    assert answer.status_code == 400 and 'Line 5: "fithub.recipes.pin" must be' in answer.json()["error"]


def test_wishes_of_a_card():
    block = {"recipes": {"pin": "a", "exclude": ["b", "b", "c"]}, "goal": "memory"}
    assert wishes_of(block) == Wishes(("a",), ("b", "c"), "memory")
    for odd in ({}, {"recipes": 3, "goal": 3}, {"recipes": {"pin": {"x": 1}}, "goal": "fast"}, {"goal": []}):
        assert wishes_of(odd) == Wishes()


def test_notes_on_what_can_not_be_met():
    said = notes(Wishes(pin=("int9",), exclude=("x", "y", "onnx")), ["onnx", "fp16"])
    assert said[0] == "The card pins int9, which is no recipe of this hub; known are onnx, fp16."
    assert said[1].startswith("The card excludes x, y, which are no recipes of this hub")
    assert "made all the same" in said[2]
    assert notes(Wishes(pin=("fp16",), exclude=("int8",)), ["onnx", "fp16", "int8"]) == []


@pytest.mark.django_db(transaction=True)
def test_a_card_excludes_and_an_added_recipe_is_made(quick, alice, anonymous, visitor, tmp_path):  # noqa: F811
    call_command("add_recipe", file_of(tmp_path))
    model = make_repository(alice, "m")
    others = [recipe.name for recipe in RECIPES if recipe.name not in ("onnx", "fp16", "prune-50")]
    words = card(
        f"  recipes:\n    pin: [int9, fp16]\n    exclude: [prune-50, onnx, {', '.join(others)}]\n  goal: size\n"
    )
    push(model, alice, {"model.onnx": network(), "README.md": words.encode()})
    run_all()
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    rows = {row.name: row for row in Variant.objects.all()}
    assert (rows["prune-50"].status, rows["prune-50"].reason) == ("not_applicable", "Excluded by the card.")
    assert rows["onnx"].status == "ready"
    own = rows["prune-30+fp16"]
    assert own.status == "ready" and own.definition == OWN and own.provenance["recipe"]["definition"] == OWN
    assert [file["path"] for file in own.files if file["path"].startswith("onnx/")] == ["onnx/model_pruned30_fp16.onnx"]
    detail = SourceModel.objects.get().detail
    assert detail["wishes"] == {"pin": ["int9", "fp16"], "exclude": ["prune-50", "onnx", *others], "goal": "size"}
    page = visitor.get("/alice/m").content.decode()
    assert "The card pins int9, which is no recipe of this hub" in page and "Excluded by the card." in page
    made = list(Job.objects.filter(kind="make_variant").order_by("pk").values_list("payload__variant", flat=True))
    positions = list(Variant.objects.filter(pk__in=made).order_by("position").values_list("pk", flat=True))
    assert made == positions


@pytest.mark.django_db(transaction=True)
def test_a_recipe_which_came_later_is_tried_on_a_family_which_is_there(quick, alice, visitor, tmp_path, capsys):  # noqa: F811
    model, plain = make_repository(alice, "m"), make_repository(alice, "plain")
    others = [recipe.name for recipe in RECIPES if recipe.name not in ("onnx", "fp16")]
    wish = f"  recipes:\n    exclude: [{', '.join(others)}]\n"
    push(model, alice, {"model.onnx": network(), "README.md": card(wish).encode()})
    run_all()
    before = {row.name: row.commit for row in Variant.objects.filter(status="ready")}
    measured = Job.objects.filter(kind="measure").count()
    call_command("add_recipe", file_of(tmp_path))
    call_command("try_recipe", OWN["name"], all=True)
    said = capsys.readouterr().out
    assert "is tried on 1 model\n" in said and "alice/plain: it has no family" in said
    call_command("try_recipe", OWN["name"], "alice/m")
    assert "alice/m: it is being made." in capsys.readouterr().out
    run_all()
    rows = {row.name: row for row in Variant.objects.filter(status="ready")}
    assert {name: rows[name].commit for name in before} == before, "the others stay as they are"
    assert rows[OWN["name"]].definition == OWN and rows[OWN["name"]].footprints.exists()
    assert Job.objects.filter(kind="measure").count() == measured + 1
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    call_command("try_recipe", OWN["name"], "alice/m")
    assert "has this variant, by version 1" in capsys.readouterr().out
    call_command("try_recipe", others[0], "alice/m")
    assert "its card excludes the recipe" in capsys.readouterr().out
    assert plain.full_name == "alice/plain" and not Variant.objects.filter(source__repository=plain).exists()


@pytest.mark.django_db
def test_a_version_which_did_not_apply_gives_way_to_a_newer_one(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("compression_service.jobs.services.announce", lambda job_id: None)
    source = make_family(model, {"onnx": (400_000, 4.0, 10**8, 1.0)})
    SourceModel.objects.exclude(pk=source.pk).delete()  # its files were pushed, which began another one
    row = Variant.objects.create(source=source, name=OWN["name"], recipe=OWN["name"], recipe_version="1", status="not_applicable", reason="Nothing to prune.")  # fmt: skip
    call_command("add_recipe", file_of(tmp_path))
    call_command("try_recipe", OWN["name"], "alice/m")
    assert "this version was tried: Nothing to prune." in capsys.readouterr().out
    call_command("add_recipe", file_of(tmp_path, version="2"))
    next_push = SourceModel.objects.create(repository=model, commit="c" * 40, digest="d")
    call_command("try_recipe", OWN["name"], "alice/m")
    assert "its variants are being made" in capsys.readouterr().out and Variant.objects.get(pk=row.pk)
    next_push.delete()
    call_command("try_recipe", OWN["name"], "alice/m")
    newer = Variant.objects.get(name=OWN["name"])
    assert newer.pk != row.pk and (newer.status, newer.recipe_version) == ("making", "2")
    assert Job.objects.get(kind="make_variant").payload == {"variant": newer.pk}
    for wrong in ((OWN["name"],), ("none", "alice/m"), (OWN["name"], "alice/none")):
        with pytest.raises(CommandError):
            call_command("try_recipe", *wrong)
