"""The same recipe, source, data and versions give the same bytes; what is not the same is named."""

import pytest
from django.core.management import CommandError, call_command

from compression_service.engine.recipes import recipe
from compression_service.variants.models import SourceModel, Variant
from models_registry.repos.models import Repository, RepoType
from tests.compression_service.jobs.test_family import network, quick, run_all  # noqa: F401
from tests.factories import card_for_recipes, make_repository, push

ROWS = "x,label\n" + "".join(f'"[{",".join(str((r * 7 + c) % 16) for c in range(16))}]",{r % 4}\n' for r in range(60))


@pytest.fixture
def made(quick, transactional_db, alice):  # noqa: F811
    """A model with two made variants, calibrated on a dataset of this hub."""
    data = make_repository(alice, "rows", RepoType.DATASET)
    push(data, alice, {"rows.csv": ROWS.encode()})
    model = make_repository(alice, "m")
    card = card_for_recipes("int8-dynamic", head="datasets: [alice/rows]\n")
    push(model, alice, {"model.onnx": network(), "config.json": b"{}", "README.md": card})
    run_all()
    return model


def test_variants_are_made_again_byte_by_byte_and_what_differs_is_named(made, capsys):
    for name in ("int8-dynamic", "onnx"):
        call_command("rebuild_variant", "alice/m", name)
        said = capsys.readouterr().out
        assert "config.json" in said and said.count(" same\n") == 2 and "made again byte by byte" in said, said

    row = Variant.objects.get(name="int8-dynamic")
    row.files[0]["sha256"] = "0" * 64
    row.passes[0]["params"]["per_channel"] = "perhaps"
    row.provenance["versions"]["onnxruntime"] = "1.0.0"
    row.save()
    with pytest.raises(CommandError, match=r"onnxruntime 1\.0\.0 then, 1\.\d+\.\d+ now") as refusal:
        call_command("rebuild_variant", "alice/m", "int8-dynamic")
    assert refusal.value.returncode == 1 and "with per_channel perhaps then, " in str(refusal.value)
    table = capsys.readouterr().out
    assert "0000000000000000" in table and "differs" in table and "config.json" in table

    Variant.objects.filter(name="int8-dynamic").update(definition={}, recipe_version="0")
    _cannot("int8-dynamic", "whose definition was not kept; this hub has")
    _cannot("prune-50", "was not published: it is not applicable. Excluded by the card.")
    _cannot("nothing", "has no variant nothing")
    _cannot("fp16", "There is no model", model="alice/none")
    Repository.objects.get(type=RepoType.DATASET).delete()
    _cannot("onnx", "The dataset alice/rows, which calibrated and judged it, is not here any more")


def test_a_source_which_is_refused_now_can_not_be_made_again(model, alice):
    commit = push(model, alice, {"notes.txt": b"x"})
    source = SourceModel.objects.create(repository=model, commit=commit, digest="d", status="ready")
    version = recipe("fp16").version
    Variant.objects.create(
        source=source, name="fp16", recipe="fp16", recipe_version=version, status="ready", commit=commit
    )
    _cannot("fp16", "Making it again ended with: ")


def _cannot(name, words, model="alice/m"):
    with pytest.raises(CommandError, match=words) as refusal:
        call_command("rebuild_variant", model, name)
    assert refusal.value.returncode == 2
