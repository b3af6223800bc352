"""Trees, branches, tags, commits, squashed histories and LFS files."""

from expectations.base import ROBOT, Area, refused
from huggingface_hub import CommitOperationAdd, RepoFile, RepoFolder
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError


class References(Area):
    # --- trees ---------------------------------------------------------------------------------------------------
    def _nested(self) -> str:
        repo = self.repo()
        names = ("file.md", "lfs.bin", "1/file_1.md", "1/2/file_1_2.md", "2/file_2.md")
        self.put(repo, dict.fromkeys(names, b"data"), "A first repo")
        self.put(repo, {"3/file_3.md": b"data2"}, "Another commit")
        return repo

    def expect_trees_flat_deep_and_of_a_folder(self) -> None:
        repo = self._nested()

        def paths(**options: object) -> list[str]:
            return [item.path for item in self.api.list_repo_tree(repo, **options)]

        top = {"file.md", "lfs.bin", "1", "2", "3", ".gitattributes"}
        assert set(paths()) == top == set(paths(path_in_repo="")) and len(paths()) == 6
        assert set(paths(path_in_repo="1")) == {"1/file_1.md", "1/2"}
        deep = paths(recursive=True)
        assert len(deep) == 11 and set(deep) == top | {
            "1/2",
            "1/file_1.md",
            "1/2/file_1_2.md",
            "2/file_2.md",
            "3/file_3.md",
        }
        with refused(EntryNotFoundError):
            paths(path_in_repo="unknown")
        with refused(RevisionNotFoundError):
            paths(revision="unknown")

    def expect_expanded_trees_know_the_last_commit(self) -> None:
        repo = self._nested()
        plain, full = ({item.path: item for item in self.api.list_repo_tree(repo, expand=how)} for how in (False, True))
        assert all(item.last_commit is None for item in plain.values())
        assert plain["file.md"].security is None
        assert (
            full["file.md"].last_commit["title"] == "A first repo"
            and full["3"].last_commit["title"] == "Another commit"
        )
        assert full["3"].last_commit["oid"] == self.api.model_info(repo).sha
        assert isinstance(full["3"], RepoFolder) and isinstance(full["lfs.bin"], RepoFile)

    def expect_paths_in_the_order_asked(self) -> None:
        repo = self._nested()
        found = self.api.get_paths_info(repo, ["1", "lfs.bin", "non_existing_path"], expand=True)
        assert [one.path for one in found] == ["1", "lfs.bin"]
        assert found[0].tree_id and found[0].last_commit and found[1].blob_id and found[1].last_commit
        assert found[1].lfs.size == 4 == found[1].size and found[1].lfs.pointer_size > 100

    # --- tags ----------------------------------------------------------------------------------------------------
    def expect_tags_on_everything_that_has_a_commit(self) -> None:
        repo, sha = self.repo("dataset"), {}
        first = self.put(repo, {"readme.md": b"this is a file content"}, repo_type="dataset").oid
        second = self.put(repo, {"config.json": b"{}"}, repo_type="dataset").oid
        pr = self.put(repo, {"other.md": b"more"}, repo_type="dataset", create_pr=True)
        for tag, revision in {"on_main": None, "long": first, "short": second[:7], "pr": pr.pr_revision}.items():
            self.api.create_tag(repo, tag=tag, tag_message="A message", revision=revision, repo_type="dataset")
            sha[tag] = self.api.dataset_info(repo, revision=tag).sha
        assert sha == {"on_main": second, "long": first, "short": second, "pr": pr.oid}, sha

    def expect_wrong_tags_are_refused(self) -> None:
        repo = self.repo()
        with refused():
            self.api.create_tag(repo, tag="invalid tag")
        with refused(RevisionNotFoundError):
            self.api.create_tag(repo, tag="invalid tag", revision="foobar")
        self.api.create_tag(repo, tag="tag_1")
        with refused(status=409):
            self.api.create_tag(repo, tag="tag_1")
        self.api.create_tag(repo, tag="tag_1", exist_ok=True)

    def expect_tags_are_deleted_and_branches_are_no_tags(self) -> None:
        repo = self.repo()
        self.api.create_tag(repo, tag="v0")
        assert self.api.model_info(repo, revision="v0").sha == self.api.model_info(repo).sha
        self.api.delete_tag(repo, tag="v0")
        with refused(RevisionNotFoundError):
            self.api.model_info(repo, revision="v0")
        with refused(RevisionNotFoundError):
            self.api.delete_tag(repo, tag="v0")
        with refused():
            self.api.delete_tag(repo, tag="main")

    # --- branches ------------------------------------------------------------------------------------------------
    def expect_branches_come_and_go(self) -> None:
        repo = self.repo()
        self.api.create_branch(repo, branch="cool-branch")
        assert self.api.model_info(repo, revision="cool-branch")
        self.api.delete_branch(repo, branch="cool-branch")
        with refused(RevisionNotFoundError):
            self.api.model_info(repo, revision="cool-branch")

    def expect_a_branch_which_is_there_is_refused_with_its_reference(self) -> None:
        repo = self.repo()
        self.api.create_branch(repo, branch="cool-branch")
        for branch in ("cool-branch", "main"):
            with refused(words=f"Reference refs/heads/{branch} already exists"):
                self.api.create_branch(repo, branch=branch)
            self.api.create_branch(repo, branch=branch, exist_ok=True)
        self.api.create_tag(repo, tag="tag")
        self.api.create_branch(repo, branch="tag")

    def expect_references_outside_the_branches_are_no_branches(self) -> None:
        repo = self.repo()
        for branch in ("refs/pr/5", "refs/something/random"):
            with refused(status=400, words="Invalid reference for a branch"):
                self.api.create_branch(repo, branch=branch)

    def expect_deletions_of_branches_which_are_refused(self) -> None:
        repo = self.repo()
        with refused(words="Cannot delete refs/heads/main"):
            self.api.delete_branch(repo, branch="main")
        self.api.create_tag(repo, tag="cool-tag")
        for branch in ("cool-branch", "cool-tag"):
            with refused(words="Invalid rev id"):
                self.api.delete_branch(repo, branch=branch)

    def expect_branches_start_where_they_are_told(self) -> None:
        repo = self.repo()
        initial = self.api.model_info(repo).sha
        latest = self.put(repo, {"app.py": b"content"}).oid
        self.api.create_branch(repo, branch="from-head")
        self.api.create_branch(repo, branch="from-initial", revision=initial)
        self.api.create_branch(repo, branch="from-branch", revision="from-initial")
        refs = self.api.list_repo_refs(repo)
        assert {ref.name: ref.target_commit for ref in refs.branches} == {
            "main": latest, "from-head": latest, "from-initial": initial, "from-branch": initial,
        }  # fmt: skip
        assert refs.branches[0].name == "main" and refs.branches[0].ref == "refs/heads/main"
        assert refs.pull_requests is None and refs.converts == [] and refs.tags == []
        self.put(repo, {"x": b"x"}, create_pr=True)
        assert [ref.ref for ref in self.api.list_repo_refs(repo, include_pull_requests=True).pull_requests] == [
            "refs/pr/1"
        ]

    # --- commits -------------------------------------------------------------------------------------------------
    def _history(self) -> str:
        repo = self.repo()
        for name, pr in (("content", False), ("on_pr", True), ("on_main", False)):
            self.api.upload_file(path_or_fileobj=name.encode(), path_in_repo=f"{name}.txt", repo_id=repo, create_pr=pr)
        return repo

    def expect_commits_of_main_and_of_a_pull_request(self) -> None:
        repo = self._history()
        commits = self.api.list_repo_commits(repo)
        assert [one.title for one in commits][:1] == ["Upload on_main.txt with huggingface_hub"] and len(commits) == 3
        assert all(one.authors == [ROBOT] for one in commits), commits
        assert all(one.formatted_title is None and one.formatted_message is None for one in commits)
        on_pr = self.titles(repo, revision="refs/pr/1")
        assert len(on_pr) == 3 and on_pr[0] == "Upload on_pr.txt with huggingface_hub"
        assert not any("on_main" in title for title in on_pr)
        for one in self.api.list_repo_commits(repo, formatted=True):
            assert one.formatted_title is not None and one.formatted_message is not None

    def expect_commits_of_what_is_missing(self) -> None:
        with refused(RepositoryNotFoundError):
            self.api.list_repo_commits("missing_repo_id")
        with refused(RevisionNotFoundError):
            self.api.list_repo_commits(self.repo(), revision="missing_revision")

    # --- squash --------------------------------------------------------------------------------------------------
    def expect_a_squashed_branch_leaves_the_others_alone(self) -> None:
        repo = self.repo()
        for path, data in (("file.txt", b"content"), ("lfs.bin", b"content"), ("file.txt", b"another_content")):
            self.put(repo, {path: data})
        self.api.create_branch(repo, branch="v0.1")
        self.put(repo, {"file.txt": b"foo"}, revision="v0.1")
        self.api.super_squash_history(repo)
        assert self.titles(repo) == ["Super-squash branch 'main' using huggingface_hub"]
        branch = self.titles(repo, revision="v0.1")
        assert len(branch) == 5 and branch[-1] == "initial commit"
        self.api.super_squash_history(repo, branch="v0.1", commit_message="One")
        assert self.titles(repo, revision="v0.1") == ["One"]
        assert self.pulled(repo, "file.txt") == b"another_content"
        assert self.pulled(repo, "file.txt", revision="v0.1") == b"foo" and self.pulled(repo, "lfs.bin") == b"content"

    def expect_a_pull_request_can_be_squashed(self) -> None:
        repo = self.repo()
        pr = self.api.create_pull_request(repo, title="Test super squash on PR")
        for path, data in (("file.txt", b"content"), ("lfs.bin", b"content"), ("file.txt", b"another_content")):
            self.put(repo, {path: data}, revision=pr.git_reference)
        self.api.super_squash_history(repo, branch=pr.git_reference)
        assert len(self.titles(repo, revision=pr.git_reference)) == 1

    # --- LFS files -----------------------------------------------------------------------------------------------
    def expect_lfs_files_are_listed_and_removed_for_ever(self) -> None:
        repo = self.repo()
        self.put(repo, {"lfs_file.bin": b"LFS content"})
        self.put(repo, {"txt_file.txt": b"TXT content", "lfs_file_2.bin": b"LFS content 2"})
        self.put(repo, {"txt_file_2.txt": b"TXT content 2"})
        self.api.create_branch(repo, branch="my-branch")
        self.put(repo, {"lfs_file_branch.bin": b"LFS content branch", "txt_branch.txt": b"x"}, revision="my-branch")
        listed = list(self.api.list_lfs_files(repo))
        assert {one.filename for one in listed} == {"lfs_file.bin", "lfs_file_2.bin", "lfs_file_branch.bin"}
        on_main = [one for one in listed if one.ref in ("main", "refs/heads/main")]
        assert len(listed) == 3 and len(on_main) == 2, [(one.filename, one.ref) for one in listed]
        self.api.permanently_delete_lfs_files(repo, on_main)
        assert [one.filename for one in self.api.list_lfs_files(repo)] == ["lfs_file_branch.bin"]
        assert self.files(repo) == {".gitattributes", "txt_file.txt", "txt_file_2.txt"}
        with refused(EntryNotFoundError):
            self.pulled(repo, "lfs_file.bin")

    def expect_a_pull_request_without_commits_has_the_base_only(self) -> None:
        repo = self.repo()
        pr = self.api.create_pull_request(repo, title="Test PR")
        info = self.api.create_commit(repo, [], commit_message="Empty commit", revision=pr.git_reference)
        commits = self.api.list_repo_commits(repo, revision=pr.git_reference)
        assert len(commits) == 1 and info.oid == commits[0].commit_id

    def expect_a_commit_to_a_pull_request(self) -> None:
        repo = self.repo()
        pr = self.api.create_pull_request(repo, title="Test PR")
        operations = [CommitOperationAdd("file.txt", b"x")]
        self.api.create_commit(repo, operations, commit_message="On it", revision=pr.git_reference)
        assert self.titles(repo, revision=pr.git_reference) == ["On it", "initial commit"]
        assert self.pulled(repo, "file.txt", revision=pr.git_reference) == b"x"
