"""What people do with the library `datasets`: `python datasets_story.py TASK.json`, HF_ENDPOINT being the hub."""

import datasets
import huggingface_hub
from common import task, tell
from datasets import (
    Dataset,
    DatasetDict,
    Features,
    Value,
    get_dataset_config_names,
    get_dataset_split_names,
    load_dataset,
)
from huggingface_hub import HfApi, create_repo
from huggingface_hub.utils import RepositoryNotFoundError

told = task()
repo, private = f"alice/{told['prefix']}", f"alice/{told['prefix']}-private"
rows = {"text": [f"row {number}" for number in range(1000)], "label": [number % 3 for number in range(1000)]}
parts = DatasetDict(
    {"train": Dataset.from_dict(rows), "test": Dataset.from_dict({k: v[:100] for k, v in rows.items()})}
)


def push_to_hub_of_splits() -> None:
    parts.push_to_hub(repo)
    files = HfApi().list_repo_files(repo, repo_type="dataset")
    assert any(name.startswith("data/train-") for name in files) and "README.md" in files, files


def load_dataset_by_name() -> None:
    loaded = load_dataset(repo)
    assert {name: len(part) for name, part in loaded.items()} == {"train": 1000, "test": 100}
    assert loaded["train"][999] == {"text": "row 999", "label": 0}
    assert loaded["train"].info.splits["train"].num_examples == 1000


def load_dataset_of_a_split_and_a_revision() -> None:
    sha = HfApi().dataset_info(repo).sha
    assert len(load_dataset(repo, split="test", revision=sha)) == 100
    assert load_dataset(repo, split="train[:10]")[9]["text"] == "row 9"


def load_dataset_streaming() -> None:
    stream = load_dataset(repo, split="train", streaming=True)
    assert [row["label"] for row in stream.take(5)] == [0, 1, 2, 0, 1]
    assert sum(1 for _ in stream) == 1000


def names_of_configurations_and_splits() -> None:
    assert get_dataset_config_names(repo) == ["default"] and get_dataset_split_names(repo) == ["train", "test"]


def push_to_hub_again_replaces_the_data() -> None:
    parts["train"].select(range(10)).push_to_hub(repo, split="train")
    assert len(load_dataset(repo, split="train", download_mode="force_redownload")) == 10


def push_to_hub_of_a_second_configuration() -> None:
    Dataset.from_dict({"x": [1, 2, 3]}).push_to_hub(repo, config_name="small")
    assert sorted(get_dataset_config_names(repo)) == ["default", "small"]
    assert load_dataset(repo, "small", split="train")["x"] == [1, 2, 3]


def push_to_hub_as_a_pull_request() -> None:
    info = Dataset.from_dict({"x": [4]}).push_to_hub(repo, config_name="small", create_pr=True)
    assert info.pr_revision == "refs/pr/1", info
    assert load_dataset(repo, "small", split="train", revision="refs/pr/1")["x"] == [4]


def a_private_dataset() -> None:
    Dataset.from_dict({"x": [1]}).push_to_hub(private, private=True)
    assert load_dataset(private, split="train")["x"] == [1]
    try:
        load_dataset(private, split="train", token=told["bob"], cache_dir=told["folder"] + "/bob")
    except (datasets.exceptions.DatasetNotFoundError, RepositoryNotFoundError):
        return
    raise AssertionError("bob read it")


def load_dataset_of_csv_and_json_files() -> None:
    name = create_repo(f"{repo}-files", repo_type="dataset").repo_id
    for path, data in {"train.csv": b"a,b\n1,2\n3,4\n", "more/test.jsonl": b'{"a": 5, "b": 6}\n'}.items():
        HfApi().upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=name, repo_type="dataset")
    assert load_dataset(name, data_files="train.csv", split="train")["a"] == [1, 3]
    assert load_dataset(f"hf://datasets/{name}", data_files="more/*.jsonl", split="train")["b"] == [6]


def to_parquet_and_back_by_the_file_system() -> None:
    path = f"hf://datasets/{repo}/by-path/part.parquet"
    parts["test"].to_parquet(path)
    columns = Features({"text": Value("string"), "label": Value("int64")})
    assert len(Dataset.from_parquet(path, features=columns)) == 100


tell(
    f"{datasets.__version__} (huggingface_hub {huggingface_hub.__version__})",
    [
        push_to_hub_of_splits, load_dataset_by_name, load_dataset_of_a_split_and_a_revision, load_dataset_streaming,
        names_of_configurations_and_splits, push_to_hub_again_replaces_the_data, push_to_hub_of_a_second_configuration,
        push_to_hub_as_a_pull_request, a_private_dataset, load_dataset_of_csv_and_json_files,
        to_parquet_and_back_by_the_file_system,
    ],
)  # fmt: skip
