"""Push: repositories, files, folders, commits, branches and tags."""

import inspect
import io

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, ModelCard
from huggingface_hub.utils import HfHubHTTPError
from story.base import CARD, VERSION, Chapter, NotThere, files_of, refused


class Push(Chapter):
    # --- push ----------------------------------------------------------------------------------------------------
    def do_who_am_i(self) -> None:
        me = self.api.whoami()
        assert me["name"] == "alice" and [org["name"] for org in me["orgs"]] == ["acme"], me

    def do_create_public_and_private(self) -> None:
        url = self.api.create_repo(self.repo)
        assert str(url) == f"{self.endpoint}/{self.repo}", url
        self.api.create_repo(self.private, private=True)
        self.api.create_repo(self.dataset, repo_type="dataset", private=False)
        with refused(HfHubHTTPError, 409):
            self.api.create_repo(self.repo)
        assert str(self.api.create_repo(self.repo, exist_ok=True)) == str(url)

    def do_upload_file_of_bytes(self) -> None:
        self._upload("bytes.bin", self._random(300_000))
        self._upload("notes.txt", b"small and plain\n")

    def do_upload_file_by_path(self) -> None:
        path = self.folder / "by-path.safetensors"
        path.write_bytes(self._random(200_000))
        self.api.upload_file(path_or_fileobj=path, path_in_repo="deep/er/by-path.bin", repo_id=self.repo)
        self.files["deep/er/by-path.bin"] = path.read_bytes()
        assert self._served("deep/er/by-path.bin") == path.read_bytes()

    def do_upload_file_object(self) -> None:
        data = self._random(150_000)
        self.api.upload_file(path_or_fileobj=io.BytesIO(data), path_in_repo="object.bin", repo_id=self.repo)
        self.files["object.bin"] = data
        assert self._served("object.bin") == data

    def do_upload_folder(self) -> None:
        files = {
            "README.md": CARD.format(tag=self.tag).encode(), "weights.bin": self._random(3_000_000), "empty.txt": b"",
            "empty.bin": b"", "a space #1?.bin": self._random(70_000), "ünïcode/文件 %41.txt": "Grüße\n".encode(),
            "plus+and&equals=.txt": b"+&=\n", "tight/same.bin": files_of("same"), "tight/same-again.bin": files_of("same"),
            "zeros.bin": bytes(100_000), "not-text.dat": b"\xff\xfe\x00\x01", "skip/this.log": b"not pushed",
        }  # fmt: skip
        for name, data in files.items():
            target = self.source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.api.upload_folder(repo_id=self.repo, folder_path=self.source, ignore_patterns=["*.log"])
        self.files |= {name: data for name, data in files.items() if not name.endswith(".log")}
        listed = set(self.api.list_repo_files(self.repo))
        assert listed == {".gitattributes", *self.files}, listed.symmetric_difference(self.files)
        for name, data in self.files.items():
            assert self._served(name) == data, name

    def do_upload_the_same_folder_again(self) -> None:
        before = self.api.model_info(self.repo).sha
        self.api.upload_folder(repo_id=self.repo, folder_path=self.source, ignore_patterns=["*.log"])
        after = self.api.model_info(self.repo)
        assert len(after.siblings) == len(self.files) + 1
        assert VERSION < (0, 26) or after.sha == before, "nothing changed, but there is a new commit"

    def do_commit_of_add_copy_delete(self) -> None:
        operations = [
            CommitOperationAdd("added.txt", b"added\n"),
            CommitOperationCopy("weights.bin", "copy/weights.bin"),
            CommitOperationDelete("notes.txt"),
            CommitOperationDelete("tight/"),
        ]
        info = self.api.create_commit(self.repo, operations, commit_message="Many things", commit_description="Why")
        self.files |= {"added.txt": b"added\n", "copy/weights.bin": self.files["weights.bin"]}
        for gone in ("notes.txt", "tight/same.bin", "tight/same-again.bin"):
            del self.files[gone]
        assert set(self.api.list_repo_files(self.repo)) == {".gitattributes", *self.files}
        assert self._served("copy/weights.bin") == self.files["weights.bin"]
        newest = self.api.list_repo_commits(self.repo)[0]
        assert (newest.commit_id, newest.title, newest.message) == (info.oid, "Many things", "Why"), newest
        assert newest.authors == ["alice"]

    def do_delete_file_and_folder(self) -> None:
        self._upload("gone/too.txt", b"x")
        self._upload("gone.txt", b"x")
        self.api.delete_file("gone.txt", self.repo)
        self.api.delete_folder("gone", self.repo)
        del self.files["gone.txt"], self.files["gone/too.txt"]
        assert set(self.api.list_repo_files(self.repo)) == {".gitattributes", *self.files}

    def do_upload_folder_with_delete_patterns(self) -> None:
        self._upload("old/one.txt", b"1")
        (self.folder / "new").mkdir()
        (self.folder / "new" / "two.txt").write_bytes(b"2")
        self.api.upload_folder(
            repo_id=self.repo, folder_path=self.folder / "new", path_in_repo="old", delete_patterns="*.txt"
        )
        del self.files["old/one.txt"]
        self.files["old/two.txt"] = b"2"
        assert set(self.api.list_repo_files(self.repo)) == {".gitattributes", *self.files}

    def do_model_card_push(self) -> None:
        if "https://huggingface.co" in inspect.getsource(ModelCard.validate):
            raise NotThere("it asks huggingface.co, whatever HF_ENDPOINT says")
        text = CARD.format(tag=self.tag) + "\nPushed as a card.\n"
        ModelCard(text).push_to_hub(self.repo, token=self.alice)
        self.files["README.md"] = self._served("README.md")
        assert ModelCard.load(self.repo, token=self.alice).data.license == "mit"

    # --- branches and tags ---------------------------------------------------------------------------------------
    def do_branches(self) -> None:
        self.api.create_branch(self.repo, branch="dev/x")
        with refused(HfHubHTTPError, 409):
            self.api.create_branch(self.repo, branch="dev/x")
        self.api.create_branch(self.repo, branch="dev/x", exist_ok=True)
        self.api.upload_file(path_or_fileobj=b"dev\n", path_in_repo="dev.txt", repo_id=self.repo, revision="dev/x")
        assert "dev.txt" in self.api.list_repo_files(self.repo, revision="dev/x")
        assert "dev.txt" not in self.api.list_repo_files(self.repo)
        names = {ref.name for ref in self.api.list_repo_refs(self.repo).branches}
        assert names == {"main", "dev/x"}, names
        self.api.create_branch(self.repo, branch="short-lived", revision="dev/x")
        self.api.delete_branch(self.repo, branch="short-lived")
        with refused(HfHubHTTPError, 403):
            self.api.delete_branch(self.repo, branch="main")

    def do_tags(self) -> None:
        self.api.create_tag(self.repo, tag="v1.0", tag_message="first")
        self.api.create_tag(self.repo, tag="short", revision=self._sha()[:8])
        with refused(HfHubHTTPError, 409):
            self.api.create_tag(self.repo, tag="v1.0")
        tags = {ref.name: ref.target_commit for ref in self.api.list_repo_refs(self.repo).tags}
        assert tags == {"v1.0": self._sha(), "short": self._sha()}, tags
        self.api.delete_tag(self.repo, tag="short")
