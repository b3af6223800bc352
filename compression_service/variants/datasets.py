"""Which dataset of this hub calibrates and judges a model: the first of its card's which may be used for it."""

from models_registry.accounts.policies import can_use
from models_registry.cards.services import card_at
from models_registry.repos.entries import list_entries
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import repository_named

DATA_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def data_paths(dataset: Repository, commit: str) -> list[str]:
    """The files of rows at a commit."""
    entries = list_entries(dataset, commit, recursive=True)
    return [entry.path for entry in entries if not entry.is_folder and entry.path.lower().endswith(DATA_ENDINGS)]


def usable_dataset(model: Repository, name: str) -> Repository | None:
    """The dataset of that name, if everyone who may write the model's card may read it."""
    dataset = repository_named(RepoType.DATASET, name)
    return dataset if dataset is not None and can_use(model, dataset) else None


def dataset_of(model: Repository, commit: str) -> tuple[str, str] | None:
    """(full name, commit at its head) of the dataset for a model's commit; None while there is none with rows."""
    for name in card_at(model, commit).datasets:
        dataset = usable_dataset(model, name)
        head = branch_head(dataset) if dataset is not None else None
        if dataset is not None and head is not None and data_paths(dataset, head):
            return dataset.full_name, head
    return None
