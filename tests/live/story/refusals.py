"""Private repositories, datasets, and every refusal which the client knows a class for."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from story.base import Chapter, NotThere, refused


class Refusals(Chapter):
    # --- private, datasets, refusals -----------------------------------------------------------------------------
    def do_private_repository(self) -> None:
        data = self._random(120_000)
        self.api.upload_file(path_or_fileobj=data, path_in_repo="secret.bin", repo_id=self.private)
        mine = hf_hub_download(
            self.private, "secret.bin", endpoint=self.endpoint, token=self.alice, cache_dir=self._cache()
        )
        assert Path(mine).read_bytes() == data
        for token in (self.bob, False):
            api = HfApi(endpoint=self.endpoint, token=token)
            with refused(RepositoryNotFoundError):
                api.model_info(self.private, token=token)
            with refused(RepositoryNotFoundError):
                hf_hub_download(
                    self.private, "secret.bin", endpoint=self.endpoint, token=token, cache_dir=self._cache()
                )
        if not hasattr(self.api, "update_repo_visibility") and not hasattr(self.api, "update_repo_settings"):
            raise NotThere("update_repo_visibility")
        self._set_private(private=False)
        assert HfApi(endpoint=self.endpoint, token=self.bob).model_info(self.private).private is False
        self._set_private(private=True)

    def do_datasets(self) -> None:
        folder = self.folder / "dataset"
        folder.mkdir()
        (folder / "train.csv").write_text("text,label\nhello,0\nworld,1\n")
        (folder / "blob.parquet").write_bytes(self._random(90_000))
        self.api.upload_folder(repo_id=self.dataset, repo_type="dataset", folder_path=folder)
        info = self.api.dataset_info(self.dataset, files_metadata=True)
        assert info.author == "acme" and {"train.csv", "blob.parquet"} <= {s.rfilename for s in info.siblings}
        root = Path(self._snapshot(self.dataset, repo_type="dataset"))
        assert (root / "blob.parquet").read_bytes() == (folder / "blob.parquet").read_bytes()
        assert self.dataset in {dataset.id for dataset in self.api.list_datasets(author="acme")}
        self.api.delete_file("train.csv", self.dataset, repo_type="dataset")
        assert "train.csv" not in self.api.list_repo_files(self.dataset, repo_type="dataset")

    def do_not_found(self) -> None:
        with refused(RepositoryNotFoundError):
            self.api.model_info("alice/no-such-repository")
        with refused(RevisionNotFoundError):
            self.api.model_info(self.repo, revision="no-such-branch")
        with refused(RevisionNotFoundError):
            self._download("weights.bin", revision="no-such-branch")
        with refused(RevisionNotFoundError):
            self._snapshot(self.repo, revision="0" * 40)
        with refused(EntryNotFoundError):
            self._download("no-such-file.bin")
        with refused(RepositoryNotFoundError):
            self.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/no-such-repository")

    def do_refused_writes(self) -> None:
        readers = HfApi(endpoint=self.endpoint, token=self.reader)
        strangers = HfApi(endpoint=self.endpoint, token=self.bob)
        for api in (readers, strangers):
            with refused(HfHubHTTPError, 403):
                api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=self.repo)
            with refused(HfHubHTTPError, 403):
                api.create_branch(self.repo, branch="theirs")
            with refused(HfHubHTTPError, 403):
                api.create_repo("acme/not-theirs")
            with refused(HfHubHTTPError, 403):
                api.delete_repo(self.repo)
        with refused(HfHubHTTPError, 412):
            stale = [CommitOperationAdd("stale.txt", b"stale")]
            self.api.create_commit(self.repo, stale, commit_message="late", parent_commit="0" * 40)
        with refused((HfHubHTTPError, ValueError), words="YAML"):
            readme = CommitOperationAdd("README.md", b"---\nlicense: [\n---\n")
            self.api.create_commit(self.repo, [readme], commit_message="A card which is no YAML")
        assert "stale.txt" not in self.api.list_repo_files(self.repo)

    def do_bad_token(self) -> None:
        with refused((HfHubHTTPError, OSError), words="nvalid"):  # old clients: a class of requests
            HfApi(endpoint=self.endpoint, token="hf_thisisnotatoken").whoami()
        with refused(HfHubHTTPError, 401):
            HfApi(endpoint=self.endpoint, token="hf_thisisnotatoken").create_repo("alice/never")

    def do_delete_repository(self) -> None:
        self.api.delete_repo(f"{self.repo}-page-0")
        with refused(RepositoryNotFoundError):
            self.api.model_info(f"{self.repo}-page-0")
        with refused(RepositoryNotFoundError):
            self.api.delete_repo(f"{self.repo}-page-0")
        self.api.delete_repo(f"{self.repo}-page-0", missing_ok=True)
