"""Uploads and commits: what is stored, what is skipped, what is refused."""

import io
import tempfile
import warnings
from pathlib import Path

from expectations.base import ROBOT, Area, refused, said
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub._commit_api import _fetch_upload_modes
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import HfHubHTTPError

TEXT = b"Content of the file"


class Commits(Area):
    # --- one file ------------------------------------------------------------------------------------------------
    def expect_a_file_is_uploaded_from_everything_that_has_bytes(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "temp"
            path.write_bytes(TEXT)
            with path.open("rb") as opened:
                for number, source in enumerate([str(path), path, opened, io.BytesIO(TEXT), TEXT]):
                    info = self.api.upload_file(path_or_fileobj=source, path_in_repo=f"temp/{number}.md", repo_id=repo)
                    assert isinstance(info, CommitInfo) and info.startswith(f"{self.endpoint}/{repo}/commit/"), info
                    assert self.pulled(repo, f"temp/{number}.md") == TEXT

    def expect_data_files_in_a_model_are_stored_with_a_warning(self) -> None:
        repo = self.repo()
        for name in ("data.parquet", "data.arrow"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.api.upload_file(path_or_fileobj=b"content", path_in_repo=name, repo_id=repo)
            assert any("data file" in str(one.message) for one in caught)
        assert {"data.parquet", "data.arrow"} <= self.files(repo)

    def expect_a_deleted_file_is_gone(self) -> None:
        repo = self.repo()
        self.put(repo, {"temp/new_file.md": TEXT})
        assert isinstance(self.api.delete_file("temp/new_file.md", repo), CommitInfo)
        with refused(EntryNotFoundError):
            self.pulled(repo, "temp/new_file.md")

    def expect_an_empty_file_is_regular_whatever_its_name(self) -> None:
        repo = self.repo()
        self.put(repo, {"empty.pkl": b""})
        found = {one.rfilename: one for one in self.api.model_info(repo, files_metadata=True).siblings}["empty.pkl"]
        assert found.size == 0 and found.lfs is None

    def expect_a_path_which_leaves_the_repository_is_422(self) -> None:
        repo = self.repo()
        with refused(status=422):
            self.api.upload_file(path_or_fileobj=b"content", path_in_repo="..\\ddd", repo_id=repo)

    # --- folders -------------------------------------------------------------------------------------------------
    def _folder(self, root: str, **more: bytes) -> Path:
        folder = Path(root)
        (folder / "temp").write_bytes(TEXT)
        (folder / "nested").mkdir()
        (folder / "nested" / "file.bin").write_bytes(bytes(1024 * 1024))
        for name, data in more.items():
            (folder / name).write_bytes(data)
        return folder

    def expect_a_folder_is_uploaded_twice_without_harm(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as root:
            folder = self._folder(root)
            info = self.api.upload_folder(folder_path=folder, path_in_repo="temp/dir", repo_id=repo)
            assert info.startswith(f"{self.endpoint}/{repo}/commit/")
            assert self.pulled(repo, "temp/dir/temp") == TEXT
            assert self.pulled(repo, "temp/dir/nested/file.bin", revision="main") == bytes(1024 * 1024)
            again = self.api.upload_folder(folder_path=folder, path_in_repo="temp/dir", repo_id=repo)
        assert isinstance(again, CommitInfo) and len(self.titles(repo)) == 2

    def expect_a_folder_becomes_a_pull_request(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as root:
            info = self.api.upload_folder(
                folder_path=self._folder(root), path_in_repo="temp/dir", repo_id=repo, create_pr=True
            )
        assert info.startswith(f"{self.endpoint}/{repo}/commit/") and info.pr_revision == "refs/pr/1"
        assert self.pulled(repo, "temp/dir/nested/file.bin", revision="refs/pr/1") == bytes(1024 * 1024)
        assert self.files(repo) == {".gitattributes"}

    def expect_git_and_cache_folders_stay_at_home(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as root:
            folder = self._folder(root)
            for name in (".git/x", ".cache/huggingface/x", "folder/.git/x", ".git_something/file.txt", "file.git"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("content")
            self.api.upload_folder(folder_path=folder, repo_id=repo)
        assert self.files(repo) == {".gitattributes", ".git_something/file.txt", "file.git", "temp", "nested/file.bin"}

    def expect_gitignore_is_obeyed_there_and_in_the_same_commit(self) -> None:
        for there in (True, False):
            repo = self.repo()
            if there:
                self.put(repo, {".gitignore": b"nested/*\n"})
            with tempfile.TemporaryDirectory() as root:
                folder = self._folder(root, **({} if there else {".gitignore": b"nested/*\n"}))
                self.api.upload_folder(folder_path=folder, repo_id=repo)
            assert not self.api.file_exists(repo, "nested/file.bin") and self.api.file_exists(repo, "temp")

    def expect_a_folder_of_many_files(self) -> None:
        repo = self.repo("dataset")
        with tempfile.TemporaryDirectory() as root:
            for number in range(300):
                name = f"part {number % 7}/file-{number}.{'bin' if number % 2 else 'txt'}"
                (Path(root) / name).parent.mkdir(exist_ok=True)
                (Path(root) / name).write_text(f"content {number}")
            self.api.upload_folder(folder_path=root, repo_id=repo, repo_type="dataset")
        assert len(self.files(repo, repo_type="dataset")) == 301

    def expect_uploads_in_the_background_come_in_order(self) -> None:
        repo = self.repo()
        with tempfile.TemporaryDirectory() as root:
            self._folder(root)
            common = {"repo_id": repo, "run_as_future": True}
            one = self.api.upload_file(path_or_fileobj=b"1", path_in_repo="1.txt", commit_message="Upload 1", **common)
            two = self.api.upload_file(path_or_fileobj=b"2", path_in_repo="2.txt", commit_message="Upload 2", **common)
            last = self.api.upload_folder(folder_path=root, commit_message="Upload folder", **common)
            last.result()
        assert one.done() and two.done()
        assert self.titles(repo) == ["Upload folder", "Upload 2", "Upload 1", "initial commit"]

    # --- commits -------------------------------------------------------------------------------------------------
    def expect_a_commit_of_all_sorts(self) -> None:
        repo = self.repo()
        self.put(repo, {"temp/new_file.md": TEXT})
        with tempfile.NamedTemporaryFile() as file:
            file.write(TEXT)
            file.flush()
            with Path(file.name).open("rb") as opened:
                info = self.api.create_commit(
                    repo,
                    [
                        CommitOperationDelete("temp/new_file.md"),
                        CommitOperationAdd("buffer", b"Buffer data"),
                        CommitOperationAdd("bytesio", io.BytesIO(b"BytesIO data")),
                        CommitOperationAdd("fileobj", opened),
                        CommitOperationAdd("nested/path", file.name),
                    ],
                    commit_message="Test create_commit",
                )
        assert (info.pr_url, info.pr_num, info.pr_revision) == (None, None, None)
        assert info.commit_url == f"{self.endpoint}/{repo}/commit/{info.oid}" and info.repo_url.repo_id == repo
        with refused(EntryNotFoundError):
            self.pulled(repo, "temp/new_file.md")
        wanted = {"buffer": b"Buffer data", "bytesio": b"BytesIO data", "fileobj": TEXT, "nested/path": TEXT}
        assert {path: self.pulled(repo, path) for path in wanted} == wanted

    def expect_a_stale_parent_is_412(self) -> None:
        repo = self.repo()
        before = self.api.model_info(repo).sha
        self.put(repo, {"file.md": TEXT})
        words = "The branch was updated since you opened this page. Please refresh and try again."
        with refused(HfHubHTTPError, 412, words):
            self.put(repo, {"buffer": b"Buffer data"}, parent_commit=before)

    def expect_a_commit_to_a_missing_repository_says_what_to_do(self) -> None:
        try:
            self.put(f"{ROBOT}/repo_that_do_not_exist", {"config.json": b"content"})
        except RepositoryNotFoundError as error:
            number = error.response.headers["X-Request-Id"]
            url = f"{self.endpoint}/api/models/{ROBOT}/repo_that_do_not_exist/preupload/main"
            assert str(error).startswith(
                f"404 Client Error. (Request ID: {number})\n\nRepository Not Found for url: {url}"
            )
            assert "Please use `create_repo` if it's not the case." in str(error)
        else:
            raise AssertionError("nothing was raised")

    def expect_gitattributes_decide_what_goes_to_lfs(self) -> None:
        repo = self.repo()
        self.put(repo, {".gitattributes": b"*.png filter=lfs diff=lfs merge=lfs -text"})
        self.put(repo, {"image.png": b"image data"})
        found = {one.rfilename: one for one in self.api.model_info(repo, files_metadata=True).siblings}
        assert isinstance(found["image.png"].lfs, dict), found["image.png"]

    def expect_a_hundred_megabytes_of_text_in_one_commit(self) -> None:
        repo = self.repo()
        self.put(repo, {f"file-{n}.text": b"Hello regular " + b"a" * 1024 * 1024 * 9 for n in range(12)})
        sizes = {one.path: one.size for one in self.api.list_repo_tree(repo)}
        assert sizes["file-11.text"] == 14 + 9 * 1024 * 1024

    def expect_preupload_of_1300_files(self) -> None:
        operations = [CommitOperationAdd(f"file-{n}.bin", b"Hello LFS" + b"a" * 2048) for n in range(1300)]
        _fetch_upload_modes(
            additions=operations, repo_type="model", repo_id=self.repo(), headers=self.api._build_hf_headers(),
            revision="main", endpoint=self.endpoint,
        )  # fmt: skip
        assert {one._upload_mode for one in operations} == {"lfs"}

    def expect_operations_know_that_they_were_done(self) -> None:
        operations = [CommitOperationAdd("lfs.bin", b"content"), CommitOperationAdd("file.txt", b"content")]
        self.api.create_commit(self.repo(), operations, commit_message="x")
        assert [one._is_committed for one in operations] == [True, True] and operations[0]._is_uploaded

    def expect_contents_uploaded_before_the_commit(self) -> None:
        repo = self.repo()
        names = {"lfs.bin": b"content1", "file.txt": b"content", "lfs2.bin": b"content2", "file2.txt": b"content"}
        operations = [CommitOperationAdd(path, data) for path, data in names.items()]
        for one in operations:
            self.api.preupload_lfs_files(repo, [one])
        assert operations[0]._is_uploaded and operations[0].path_or_fileobj == b""
        with said() as lines:
            self.api.create_commit(repo, operations, commit_message="x")
        assert any("No LFS files to upload." in line for line in lines), lines
        assert self.pulled(repo, "lfs2.bin") == b"content2"

    # --- commits which change nothing ----------------------------------------------------------------------------
    def expect_nothing_to_do_makes_no_commit(self) -> None:
        repo = self.repo()
        with said() as lines:
            self.api.create_commit(repo, [], commit_message="Empty commit")
        assert any("No files have been modified since last commit" in line for line in lines)
        assert self.titles(repo) == ["initial commit"]

    def expect_unchanged_files_are_left_out(self) -> None:
        repo = self.repo()
        first = {"file.txt": b"content 1.0", "file2.txt": b"content 2.0", "lfs.bin": b"LFS 1.0", "lfs2.bin": b"LFS 2.0"}
        self.put(repo, first, "initial commit")
        with said() as lines:
            self.put(repo, {"file.txt": b"content 1.0", "lfs.bin": b"LFS 1.0"}, "Empty commit")
        assert "Removing 2 file(s) from commit that have not changed." in lines and len(self.titles(repo)) == 2
        second = first | {"file2.txt": b"2.1", "file3.txt": b"3.0", "lfs2.bin": b"LFS 2.1", "lfs3.bin": b"LFS 3.0"}
        self.put(repo, second, "second commit")
        infos = self.api.get_paths_info(repo, list(second), expand=True)
        titles = {one.path: one.last_commit.title for one in infos}
        assert titles == {
            "file.txt": "initial commit", "lfs.bin": "initial commit", "file2.txt": "second commit",
            "file3.txt": "second commit", "lfs2.bin": "second commit", "lfs3.bin": "second commit",
        }, titles  # fmt: skip

    def expect_copies_of_the_same_content_are_left_out(self) -> None:
        repo = self.repo()
        self.put(
            repo,
            {
                "f.txt": b"one",
                "f_copy.txt": b"one",
                "f2.txt": b"two",
                "l.bin": b"L1",
                "l_copy.bin": b"L1",
                "l2.bin": b"L2",
            },
        )
        pairs = [("f.txt", "f_copy.txt"), ("f2.txt", "f.txt"), ("f2.txt", "f3.txt")]
        pairs += [("l.bin", "l_copy.bin"), ("l2.bin", "l.bin"), ("l2.bin", "l3.bin")]
        with said() as lines:
            self.api.create_commit(repo, [CommitOperationCopy(a, b) for a, b in pairs], commit_message="Copies")
        assert "Removing 2 file(s) from commit that have not changed." in lines, lines
        wanted = {
            "f.txt": b"two",
            "f_copy.txt": b"one",
            "f3.txt": b"two",
            "l.bin": b"L2",
            "l_copy.bin": b"L1",
            "l3.bin": b"L2",
        }
        assert {path: self.pulled(repo, path) for path in wanted} == wanted

    def expect_a_deletion_alone_is_a_commit(self) -> None:
        repo = self.repo()
        self.put(repo, {"a.txt": b"1", "b.txt": b"1", "c.txt": b"2"})
        operations = [
            CommitOperationAdd("a.txt", b"1"), CommitOperationCopy("a.txt", "b.txt"), CommitOperationDelete("c.txt"),
        ]  # fmt: skip
        self.api.create_commit(repo, operations, commit_message="x")
        assert self.files(repo) == {".gitattributes", "a.txt", "b.txt"}

    # --- copies --------------------------------------------------------------------------------------------------
    def expect_copies_within_a_repository(self) -> None:
        repo = self.repo()
        self.put(repo, {"file.txt": b"content", "lfs.bin": b"LFS content"})
        self.api.create_commit(
            repo,
            [CommitOperationCopy("lfs.bin", "lfs Copy.bin"), CommitOperationCopy("lfs.bin", "lfs Copy (1).bin")],
            commit_message="Copy LFS file.",
        )
        self.api.create_commit(repo, [CommitOperationCopy("file.txt", "file Copy.txt")], commit_message="Copy")
        with refused(EntryNotFoundError):
            self.api.create_commit(repo, [CommitOperationCopy("nope.txt", "nope Copy.txt")], commit_message="Copy")
        assert {"file Copy.txt", "lfs Copy.bin", "lfs Copy (1).bin"} <= self.files(repo)
        one, two = self.api.get_paths_info(repo, ["lfs.bin", "lfs Copy.bin"])
        assert one.lfs["sha256"] == two.lfs["sha256"]

    def expect_copies_from_one_repository_to_another(self) -> None:
        source, target = self.repo(), self.repo("dataset")
        binary = self.name().encode()  # never seen before: what came by Xet once is known by its hash for ever
        self.put(source, {"config.json": b"{}", "data/a.txt": b"text", "data/sub/lfs.bin": binary})
        self.api.copy_files(f"hf://{source}/config.json", f"hf://datasets/{target}/config.json")
        self.api.copy_files(f"hf://{source}/data/", f"hf://datasets/{target}/copied/")
        wanted = {"config.json": b"{}", "copied/a.txt": b"text", "copied/sub/lfs.bin": binary}
        assert {path: self.pulled(target, path, repo_type="dataset") for path in wanted} == wanted

    # --- deletions -----------------------------------------------------------------------------------------------
    def expect_folders_are_deleted_however_they_are_named(self) -> None:
        repo = self.repo()
        self.put(
            repo, {"1/file_1.md": b"data", "1/file_2.md": b"data", "2/file_3.md": b"data", "3/x": b"d", "4/x": b"d"}
        )
        self.api.create_commit(repo, [CommitOperationDelete("1/")], commit_message="implicit")
        self.api.delete_folder("2", repo)
        self.api.create_commit(repo, [CommitOperationDelete("3")], commit_message="without a slash")
        assert self.files(repo) == {".gitattributes", "4/x"}
        with refused(EntryNotFoundError):
            self.pulled(repo, "1/file_1.md")

    def expect_files_are_deleted_by_patterns(self) -> None:
        every = [f"{folder}{name}" for folder in ("", "nested/", "nested/sub/") for name in ("file.txt", "lfs.bin")]
        for patterns, gone in {
            ("file.txt",): {"file.txt"}, ("file.txt", "lfs.bin"): {"file.txt", "lfs.bin"},
            ("nested/*",): set(every[2:]), ("nested/",): set(every[2:]), ("not_existing", "nested/*"): set(every[2:]),
            ("*.bin",): set(every[1::2]), ("*/file.txt",): {every[2], every[4]}, ("*",): set(every),
        }.items():  # fmt: skip
            repo = self.repo()
            self.put(repo, dict.fromkeys(every, b"data"))
            self.api.delete_files(repo, delete_patterns=list(patterns))
            assert self.files(repo) == {".gitattributes", *every} - gone, patterns

    # --- pull requests by commit ---------------------------------------------------------------------------------
    def expect_a_commit_becomes_a_pull_request(self) -> None:
        repo = self.repo()
        self.put(repo, {"temp/new_file.md": TEXT})
        info = self.api.create_commit(
            repo,
            [CommitOperationDelete("temp/new_file.md"), CommitOperationAdd("buffer", b"Buffer data")],
            commit_message="Test create_commit", create_pr=True,
        )  # fmt: skip
        assert info.commit_url == f"{self.endpoint}/{repo}/commit/{info.oid}"
        assert info.pr_url == f"{self.endpoint}/{repo}/discussions/1" and info.pr_num == 1
        assert info.pr_revision == "refs/pr/1" and (info.commit_message, info.commit_description) == (
            "Test create_commit",
            "",
        )
        with refused(HfHubHTTPError, 404):
            self.pulled(repo, "buffer")
        assert self.pulled(repo, "buffer", revision="refs/pr/1") == b"Buffer data"

    def expect_a_pull_request_against_a_branch_and_nothing_else(self) -> None:
        repo = self.repo()
        self.api.create_branch(repo, branch="test_branch")
        head = self.api.list_repo_refs(repo).branches[0].target_commit
        assert isinstance(self.put(repo, {"file.txt": b"content"}, revision="test_branch", create_pr=True), CommitInfo)
        for revision in (head, "missing_branch"):
            with refused(RevisionNotFoundError):
                self.put(repo, {"file.txt": b"content"}, revision=revision, create_pr=True)

    def expect_a_pull_request_on_somebody_elses_repository(self) -> None:
        repo = self.repo(api=self.other)
        info = self.put(repo, {"regular.txt": b"File content", "lfs.pkl": b"File content"}, create_pr=True)
        assert self.pulled(repo, "lfs.pkl", revision=info.pr_revision) == b"File content"
        with refused(HfHubHTTPError, 403):
            self.put(repo, {"regular.txt": b"File content"})
