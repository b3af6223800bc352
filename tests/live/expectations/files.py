"""Downloads, snapshots, caches, cards, the file system and the commit scheduler."""

import io
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
import httpx2 as httpx
from expectations.base import Area, refused
from huggingface_hub import (
    CommitScheduler,
    DatasetCard,
    HfApi,
    HfFileSystem,
    ModelCard,
    RepoCard,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    metadata_load,
    metadata_update,
    snapshot_download,
    try_to_load_from_cache,
)  # fmt: skip
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)  # fmt: skip
from huggingface_hub.file_download import _CACHED_NO_EXIST

CARD = "---\nlanguage: en\nlicense: mit\nlibrary_name: pytorch\ntags: [text-classification]\nmetrics: [acc]\n---\n\n# MyModel\n"


class Files(Area):
    # --- one file ------------------------------------------------------------------------------------------------
    def expect_a_pulled_file_lies_in_the_cache_under_its_commit(self) -> None:
        repo = self.repo()
        sha = self.put(repo, {"config.json": b"{}", "lfs.bin": b"LFS content"}).oid
        with tempfile.TemporaryDirectory() as cache:
            for name, data in (("config.json", b"{}"), ("lfs.bin", b"LFS content")):
                path = Path(hf_hub_download(repo, name, cache_dir=cache))
                assert path.read_bytes() == data and path.parent.name == sha and path.is_symlink()
                assert hf_hub_download(repo, name, cache_dir=cache, local_files_only=True) == str(path)
                assert try_to_load_from_cache(repo, name, cache_dir=cache) == str(path)
            with refused(LocalEntryNotFoundError):
                hf_hub_download(repo, "never.txt", cache_dir=cache, local_files_only=True)

    def expect_an_absent_file_is_remembered_under_its_commit(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as cache:
            with refused(EntryNotFoundError, 404, "Entry Not Found"):
                hf_hub_download(repo, "missing.bin", cache_dir=cache)
            assert try_to_load_from_cache(repo, "missing.bin", cache_dir=cache) is _CACHED_NO_EXIST

    def expect_what_is_missing_has_its_own_class(self) -> None:
        repo = self.repo()
        for kind, arguments in (
            (RevisionNotFoundError, {"repo_id": repo, "filename": "x", "revision": "nope"}),
            (RepositoryNotFoundError, {"repo_id": "no-such/repository", "filename": "x"}),
            (RepositoryNotFoundError, {"repo_id": "bert-base", "filename": "x", "token": False}),
        ):
            with tempfile.TemporaryDirectory() as cache, refused(kind):
                hf_hub_download(cache_dir=cache, **arguments)

    def expect_metadata_without_the_body(self) -> None:
        repo = self.repo()
        sha = self.put(repo, {"config.json": b"{}", "lfs.bin": b"LFS content"}).oid
        small = get_hf_file_metadata(hf_hub_url(repo, "config.json"))
        assert (small.commit_hash, small.size) == (sha, 2) and len(small.etag) == 40
        large = get_hf_file_metadata(hf_hub_url(repo, "lfs.bin"))
        assert large.size == 11 and len(large.etag) == 64

    def expect_a_file_which_came_by_xet_tells_its_xet_hash(self) -> None:
        if not self.xet:
            return
        repo = self.repo()
        self.put(repo, {"lfs.bin": b"LFS content"})
        assert get_hf_file_metadata(hf_hub_url(repo, "lfs.bin")).xet_file_data is not None
        assert self.api.get_paths_info(repo, ["lfs.bin"])[0].xet_hash

    def expect_a_local_folder_is_not_pulled_twice(self) -> None:
        repo = self.repo()
        self.put(repo, {"deep/config.json": b"{}", "lfs.bin": b"LFS content"})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(hf_hub_download(repo, "lfs.bin", local_dir=folder))
            assert path == Path(folder) / "lfs.bin" and not path.is_symlink()
            before = path.stat().st_mtime_ns
            hf_hub_download(repo, "lfs.bin", local_dir=folder)
            assert path.stat().st_mtime_ns == before
            assert snapshot_download(repo, local_dir=folder) == str(Path(folder).resolve())
            assert (Path(folder) / "deep" / "config.json").read_bytes() == b"{}"

    # --- snapshots -----------------------------------------------------------------------------------------------
    def _three(self) -> tuple[str, str, str, str]:
        repo = self.repo()
        first = self.put(repo, {"dummy_file.txt": b"v1", "subpath/file.txt": b"content in subpath"}).oid
        second = self.put(repo, {"dummy_file.txt": b"v2", "dummy_file_2.txt": b"v3"}).oid
        self.api.create_branch(repo, branch="other")
        third = self.put(repo, {"dummy_file_2.txt": b"v4"}, revision="other").oid
        return repo, first, second, third

    def expect_snapshots_of_each_revision(self) -> None:
        repo, first, second, third = self._three()
        with tempfile.TemporaryDirectory() as cache:
            for revision, sha, text, count in (
                ("main", second, b"v2", 4),
                (first, first, b"v1", 3),
                ("other", third, b"v2", 4),
            ):
                root = Path(snapshot_download(repo, revision=revision, cache_dir=cache))
                assert root.name == sha and (root / "dummy_file.txt").read_bytes() == text
                assert len(list(root.iterdir())) == count
                again = snapshot_download(repo, revision=revision, cache_dir=cache, local_files_only=True)
                assert again == str(root)
            with refused(LocalEntryNotFoundError):
                snapshot_download(repo, cache_dir=cache + "-empty", local_files_only=True)

    def expect_snapshots_of_some_files(self) -> None:
        repo, *_ = self._three()
        for options in (
            {"allow_patterns": "*.txt"}, {"ignore_patterns": ".gitattributes"}, {"ignore_patterns": ["*.git*", "*.pt"]},
            {"allow_patterns": ["dummy_file.txt", "dummy_file_2.txt", "subpath/*"]},
        ):  # fmt: skip
            with tempfile.TemporaryDirectory() as cache:
                root = Path(snapshot_download(repo, cache_dir=cache, **options))
                assert {p.name for p in root.iterdir()} == {"dummy_file.txt", "dummy_file_2.txt", "subpath"}, options

    def expect_a_private_snapshot_needs_the_token(self) -> None:
        repo, _, second, _ = self._three()
        self.api.update_repo_settings(repo, private=True)
        with tempfile.TemporaryDirectory() as cache:
            with refused(RepositoryNotFoundError):
                snapshot_download(repo, cache_dir=cache, token=False)
            assert snapshot_download(repo, cache_dir=cache, token=self.token).endswith(second)

    # --- cards ---------------------------------------------------------------------------------------------------
    def expect_a_card_is_validated_in_words(self) -> None:
        card = RepoCard(CARD)
        card.validate()
        card.data.license = "asdf"
        with refused(ValueError, words='- Error: "license" must be one of'):
            card.validate()

    def expect_a_card_is_pushed_and_proposed(self) -> None:
        repo = self.repo()
        url = f"{self.endpoint}/{repo}/resolve/main/README.md"
        assert httpx.get(url).status_code == 404
        RepoCard(CARD).push_to_hub(repo, token=self.token)
        assert httpx.get(url).status_code == 200
        discussions = f"{self.endpoint}/api/models/{repo}/discussions"
        assert httpx.get(discussions).json()["count"] == 0
        RepoCard(CARD.replace("MyModel", "Another")).push_to_hub(repo, token=self.token, create_pr=True)
        assert httpx.get(discussions).json()["count"] == 1

    def expect_wrong_metadata_stops_a_commit_before_the_upload(self) -> None:
        repo = self.repo()
        with refused(ValueError, words="Invalid metadata in README.md"):
            self.put(repo, {"README.md": b"\n---\nmodel-index: foo\n---\n\nwrong", "lfs.bin": b"content"})
        assert self.files(repo) == {".gitattributes"}

    def expect_a_card_without_metadata_is_stored_with_a_warning(self) -> None:
        import warnings

        repo = self.repo()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.api.upload_file(path_or_fileobj=b"No metadata", path_in_repo="README.md", repo_id=repo)
        assert any("Warnings while validating metadata in README.md" in str(one.message) for one in caught)
        assert "README.md" in self.files(repo)

    def expect_metadata_is_updated_in_place(self) -> None:
        repo = self.repo()
        self.put(repo, {"README.md": CARD.encode()})
        metadata_update(repo, {"tag": "test"}, token=self.token)
        with tempfile.TemporaryDirectory() as cache:
            found = metadata_load(hf_hub_download(repo, "README.md", cache_dir=cache))
        assert found["tag"] == "test" and found["license"] == "mit"
        with refused(ValueError, words="overwrite"):
            metadata_update(repo, {"license": "apache-2.0"}, token=self.token)
        metadata_update(repo, {"license": "apache-2.0"}, token=self.token, overwrite=True)
        assert ModelCard.load(repo).data.license == "apache-2.0"

    def expect_metadata_on_a_repository_without_a_card(self) -> None:
        space = self.repo("space")
        if "README.md" in self.files(space, repo_type="space"):
            self.api.delete_file("README.md", space, repo_type="space")
        with refused(ValueError):
            metadata_update(space, {"tag": "test"}, token=self.token, repo_type="space")
        try:
            import jinja2  # noqa: F401 - the client's template of a card wants it
        except ImportError:
            return
        for kind, card, words in (("model", ModelCard, "Model Card for"), ("dataset", DatasetCard, "Dataset Card for")):
            repo = self.repo(kind)
            metadata_update(repo, {"tag": "test"}, token=self.token, repo_type=kind)
            loaded = card.load(repo, token=self.token)
            assert words in str(loaded) and loaded.data.to_dict() == {"tag": "test"}

    # --- the file system -----------------------------------------------------------------------------------------
    def _data(self) -> tuple[str, HfFileSystem]:
        repo = self.repo("dataset")
        options: dict[str, Any] = {"repo_id": repo, "repo_type": "dataset"}
        put = self.api.upload_file
        put(path_or_fileobj=b"on pr", path_in_repo="data/binary_data_for_pr.bin", create_pr=True, **options)
        put(path_or_fileobj=b"dummy text data", path_in_repo="data/text_data.txt", **options)
        put(path_or_fileobj=b"dummy binary data", path_in_repo="data/binary_data.bin", **options)
        put(path_or_fileobj=b"# Dataset card", path_in_repo="README.md", **options)
        self.api.delete_file(".gitattributes", **options)
        return f"datasets/{repo}", HfFileSystem(endpoint=self.endpoint, token=self.token, skip_instance_cache=True)

    def expect_a_file_system_lists_and_finds(self) -> None:
        root, files = self._data()
        assert files.info(root)["type"] == "directory" and files.info(root)["last_commit"] is None
        text = files.info(f"{root}/data/text_data.txt")
        assert text["type"] == "file" and text["blob_id"] and text["size"] == 15 and "security" in text
        lfs = files.info(f"{root}/data/binary_data.bin")["lfs"]
        assert lfs["sha256"] and lfs["size"] == 17 and lfs["pointer_size"]
        assert files.glob(f"{root}/*") == [f"{root}/README.md", f"{root}/data"]
        assert files.glob(f"{root}/doesnt/exist/*") == []
        both = [f"{root}/data/binary_data.bin", f"{root}/data/text_data.txt"]
        assert (
            files.find(root) == [f"{root}/README.md", *both] and sorted(files.ls(f"{root}/data", detail=False)) == both
        )
        assert all(one["last_commit"] for one in files.ls(root, detail=True, expand_info=True))
        assert files.isdir(f"{root}/data") and files.isfile(both[0]) and not files.exists(f"{root}/nope")
        assert files.modified(both[0]) and files.modified(f"{root}/data")
        assert files.url(both[1]) == f"{self.endpoint}/{root}/resolve/main/data/text_data.txt"
        with refused(FileNotFoundError):
            files.modified(f"{root}/data/nope.txt")
        for mode in ("r", "w"):
            with refused(FileNotFoundError):
                files.open("hf://missing/repo/not_existing_file.txt", mode=mode)

    def expect_a_file_system_reads_and_streams(self) -> None:
        root, files = self._data()
        with files.open(f"{root}/data/text_data.txt", "r") as file:
            assert file.read(5) == "dummy" and file.read() == " text data" and file.read() == ""
        with files.open(f"{root}/data/binary_data.bin", block_size=0) as file:
            assert file.read(6) == b"dummy "
            file.response = None
            assert file.read(6) == b"binary" and file.read() == b" data"
        assert files.read_bytes(f"{root}/data/binary_data.bin") == b"dummy binary data"
        with tempfile.TemporaryFile() as target:
            files.get_file(f"{root}/data/text_data.txt", target)
            target.seek(0)
            assert target.read() == b"dummy text data"
        with tempfile.TemporaryDirectory() as folder:
            files.get(f"{root}/data", folder + "/data", recursive=True)
            assert (Path(folder) / "data" / "text_data.txt").read_bytes() == b"dummy text data"
        with fsspec.open(f"hf://{root}/data/text_data.txt", "rb", endpoint=self.endpoint, token=self.token) as file:
            assert file.read() == b"dummy text data"

    def expect_a_file_system_reads_a_pull_request(self) -> None:
        root, files = self._data()
        name = "data/binary_data_for_pr.bin"
        for path, options in (
            (f"{root}@refs/pr/1", {}),
            (f"{root}@refs%2Fpr%2F1", {}),
            (root, {"revision": "refs/pr/1"}),
        ):
            (found,) = files.ls(f"{path}/data", detail=False, **options)
            assert found.endswith(name) and files.glob(f"{path}/data/*", **options) == [found]
        with files.open(f"{root}/{name}", "rb", revision="refs/pr/1") as file:
            assert file.read() == b"on pr"
        files.rm_file(f"{root}@refs/pr/1/{name}")
        assert files.glob(f"{root}@refs/pr/1/data/*") == []

    def expect_a_file_system_writes_copies_and_removes(self) -> None:
        root, files = self._data()
        with files.open(f"{root}/data/new.txt", "w") as file:
            file.write("new text data")
        assert files.read_text(f"{root}/data/new.txt") == "new text data"
        big = "a" * (4 << 20)
        with files.open(f"{root}/data/big.txt", "w") as file:
            for _ in range(8):
                file.write(big)
        with files.open(f"{root}/data/big.txt", "r") as file:
            assert all(file.read(len(big)) == big for _ in range(8))
        for name in ("text_data.txt", "binary_data.bin"):
            files.cp_file(f"{root}/data/{name}", f"{root}/data/copy-{name}")
            assert files.read_bytes(f"{root}/data/copy-{name}") == files.read_bytes(f"{root}/data/{name}")
        files.rm_file(f"{root}/data/text_data.txt")
        assert not files.exists(f"{root}/data/text_data.txt")
        files.rm(f"{root}/data", recursive=True)
        assert f"{root}/data" not in files.ls(root, detail=False)

    # --- the scheduler -------------------------------------------------------------------------------------------
    def expect_a_scheduler_pushes_what_changes(self) -> None:
        name = self.name("scheduled")
        with tempfile.TemporaryDirectory() as folder:
            watched = Path(folder) / "watched"
            scheduler = CommitScheduler(folder_path=watched, repo_id=name, every=1 / 60 / 2, hf_api=self.api)
            for text, lfs in (("first line\n", "binary"), ("second line\n", ""), ("", " updated")):
                # Without the lock a push may come between the two files.
                with scheduler.lock, open(watched / "file.txt", "a") as file, open(watched / "lfs.bin", "a") as binary:
                    file.write(text)
                    binary.write(lfs)
                time.sleep(1.2)
                scheduler.last_future.result()
            scheduler.stop()
        commits = [one.commit_id for one in self.api.list_repo_commits(scheduler.repo_id)]
        assert len(commits) == 4, commits
        wanted = [(b"first line\n", b"binary"), (b"first line\nsecond line\n", b"binary")]
        wanted.append((b"first line\nsecond line\n", b"binary updated"))
        for sha, texts in zip(commits[2::-1], wanted, strict=True):
            found = tuple(self.pulled(scheduler.repo_id, path, revision=sha) for path in ("file.txt", "lfs.bin"))
            assert found == texts, found

    def expect_a_scheduler_squashes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "file.txt").write_text("first line\n")
            scheduler = CommitScheduler(
                folder_path=folder,
                repo_id=self.name("squashed"),
                every=1 / 60 / 10,
                hf_api=self.api,
                squash_history=True,
            )
            time.sleep(1)
            scheduler.stop()
            scheduler.last_future.result()
        assert self.titles(scheduler.repo_id) == ["Super-squash branch 'main' using huggingface_hub"]

    # --- the wire ------------------------------------------------------------------------------------------------
    def expect_request_numbers_come_back(self) -> None:
        for path in ("/api/whoami-v2", "/api/models/no/such", "/no/such/resolve/main/x", "/api/tasks", "/api/nowhere"):
            answer = httpx.get(self.endpoint + path, headers={"x-request-id": "number-1"})
            assert answer.headers["x-request-id"] == "number-1", (path, answer.headers)
            answer = httpx.get(self.endpoint + path, headers={"X-Amzn-Trace-Id": "trace-1"})
            assert "trace-1" in answer.headers["x-request-id"], (path, answer.headers)

    def expect_small_questions_of_clients_are_answered(self) -> None:
        answer = httpx.get(f"{self.endpoint}/api/agent-harnesses")
        assert answer.status_code in (200, 404)
        assert httpx.head(f"{self.endpoint}/api/telemetry/huggingface_hub").status_code in (200, 404)

    def expect_an_attachment_is_uploaded(self) -> None:
        pixel = bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50"
            "0f0003860180 5a347d6b0000000049454e44ae426082".replace(" ", "")
        )
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "pixel.png").write_bytes(pixel)
            url = HfApi(endpoint=self.endpoint, token=self.token).upload_attachment(Path(folder) / "pixel.png")
        assert str(url).startswith(self.endpoint), url
        assert httpx.get(str(url), follow_redirects=True).content == pixel
        assert io.BytesIO(pixel).read(4) == b"\x89PNG"
