"""`fit@…` for git: a tag which is there for whoever asks for it by name."""

import pytest

from compression_service.variants.models import Variant
from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest
from models_registry.gitapi.references import MOST_ASKED_FOR, list_refs
from models_registry.repos.models import RepoType
from tests.factories import make_family, make_repository, make_user

pytestmark = pytest.mark.django_db(transaction=True)
BUDGET = "fit@latency=20ms,memory=512MB"


@pytest.fixture
def model(model):
    make_family(model, {"onnx": (400_000, 4.0, 100_000_000, 1.0), "int8": (100_000, 1.0, 80_000_000, 0.995)})
    return model


def commit_of(name):
    return Variant.objects.get(name=name).commit


@pytest.mark.parametrize("options", [(), ("--depth", "1"), ("--single-branch",), ("--filter=blob:none",)])
def test_clone_takes_the_variant_which_fits(git, model, options):
    folder = git.clone(model, None, "-b", BUDGET, *options)
    assert git.head(folder) == commit_of("onnx") and (folder / "onnx.txt").is_file()
    assert git.run("tag", cwd=folder).strip() == BUDGET


def test_fetch_takes_it_into_what_is_there(git, model):
    folder = git.clone(model)
    git.run("fetch", "-q", "origin", "fit@size=200KB", cwd=folder)
    assert git.head(folder, "FETCH_HEAD") == commit_of("int8")
    git.run("fetch", "-q", "origin", "refs/tags/fit@goal=latency:refs/heads/mine", cwd=folder)
    assert git.head(folder, "mine") == commit_of("int8")
    assert "fit@" not in git.run("ls-remote", git.url(model))


@pytest.mark.parametrize(
    ("budget", "words"),
    [("fit@memory=1MB", "the nearest is int8"), ("fit@memory=0", "must be above 0"), ("fit@zzz=1", "known are device"),
     ("fit@device=nope", "is not known here"), ("fit@memory=1MB,memory=2MB", "twice")],
)  # fmt: skip
def test_what_fits_nobody_is_said_in_a_sentence(git, model, budget, words):
    said = git.run("clone", "-b", budget, git.url(model), "refused", fails=True)
    assert "fatal: remote error" in said and words in said and not (git.home / "refused").exists()


def test_a_dataset_has_no_variants(git, alice):
    dataset = make_repository(alice, "rows", RepoType.DATASET)
    assert "chooses variants of models" in git.run("clone", "-b", BUDGET, git.url(dataset), "refused", fails=True)


def test_a_private_model_tells_strangers_nothing(git, model, alice):
    model.private = True
    model.save()
    said = git.run("clone", "-b", BUDGET, git.url(model, make_user("eve")), "refused", fails=True)
    assert "not found" in said and "nearest" not in said
    assert git.head(git.clone(model, alice, "-b", BUDGET)) == commit_of("onnx")


def test_a_flood_of_names_is_refused(git, model, alice):
    names = [f"ref-prefix refs/tags/fit@size={number}MB" for number in range(1, MOST_ASKED_FOR + 2)]
    assert len(list(list_refs(Actor(alice), model, names[:-1]))) == MOST_ASKED_FOR + 1
    with pytest.raises(BadRequest, match="at most 16"):
        list(list_refs(Actor(alice), model, names))
