"""Browse and pull."""

import io
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.utils import HfHubHTTPError, RevisionNotFoundError
from story.base import VERSION, Chapter, NotThere, refused
from story.cutting_proxy import CuttingProxy


class Pull(Chapter):
    # --- browse --------------------------------------------------------------------------------------------------
    def do_model_info(self) -> None:
        info = self.api.model_info(self.repo, files_metadata=True)
        sizes = {file.rfilename: file.size for file in info.siblings}
        assert {name: len(data) for name, data in self.files.items()}.items() <= sizes.items(), sizes
        assert info.private is False and info.pipeline_tag == "text-classification" and "license:mit" in info.tags
        assert self.api.model_info(self.repo, revision="dev/x").sha != info.sha

    def do_list_models(self) -> None:
        def names(**query: Any) -> list[str]:
            return [getattr(model, "id", None) or model.modelId for model in self.api.list_models(**query)]

        assert {self.repo, self.private} <= set(names(author="alice"))
        assert names(author="nobody-of-this-name") == []
        assert names(search=self.tag) == [self.private, self.repo] or set(names(search=self.tag)) == {
            self.repo, self.private,
        }  # fmt: skip
        assert names(filter=self.tag) == [self.repo]
        for number in range(5):
            self.api.create_repo(f"{self.repo}-page-{number}")
        all_names = names(search=f"{self.tag}-page", sort="createdAt" if VERSION < (0, 26) else "created_at")
        assert [name[-1] for name in all_names] == list("43210"), all_names
        assert names(search=f"{self.tag}-page", limit=2) == names(search=f"{self.tag}-page")[:2]
        foreign = HfApi(endpoint=self.endpoint, token=self.bob)
        assert self.private not in {getattr(m, "id", None) or m.modelId for m in foreign.list_models(author="alice")}

    def do_list_repo_tree(self) -> None:
        if not hasattr(self.api, "list_repo_tree"):
            raise NotThere("list_repo_tree")
        whole = {item.path for item in self.api.list_repo_tree(self.repo, recursive=True)}
        assert set(self.files) <= whole and "copy" in whole
        top = {item.path for item in self.api.list_repo_tree(self.repo)}
        assert "copy" in top and "copy/weights.bin" not in top
        expanded = list(self.api.list_repo_tree(self.repo, "copy", expand=True))
        assert [item.path for item in expanded] == ["copy/weights.bin"]
        commit = expanded[0].last_commit
        assert (commit["title"] if isinstance(commit, dict) else commit.title) == "Many things"

    def do_get_paths_info(self) -> None:
        if not hasattr(self.api, "get_paths_info"):
            raise NotThere("get_paths_info")
        found = {item.path: item for item in self.api.get_paths_info(self.repo, ["weights.bin", "copy", "nope"])}
        assert set(found) == {"weights.bin", "copy"}
        assert found["weights.bin"].size == 3_000_000 and found["weights.bin"].lfs is not None

    def do_list_commits_and_refs(self) -> None:
        commits = self.api.list_repo_commits(self.repo)
        assert commits[0].commit_id == self._sha() and commits[-1].title == "initial commit"
        assert len(self.api.list_repo_commits(self.repo, revision="dev/x")) > 3

    def do_exists_functions(self) -> None:
        assert self.api.repo_exists(self.repo) and not self.api.repo_exists("alice/no-such")
        assert self.api.file_exists(self.repo, "weights.bin") and not self.api.file_exists(self.repo, "nope.bin")
        if not hasattr(self.api, "revision_exists"):
            raise NotThere("revision_exists")
        assert self.api.revision_exists(self.repo, "v1.0") and not self.api.revision_exists(self.repo, "v9")

    def do_file_system(self) -> None:
        files = HfFileSystem(endpoint=self.endpoint, token=self.alice)
        assert f"{self.repo}/weights.bin" in files.ls(self.repo, detail=False)
        with files.open(f"{self.repo}/weights.bin", "rb") as file:
            file.seek(1_000_000)
            assert file.read(64) == self.files["weights.bin"][1_000_000:1_000_064]

    # --- pull ----------------------------------------------------------------------------------------------------
    def do_download_by_branch_tag_sha(self) -> None:
        sha = self._sha()
        for revision in (None, "main", "v1.0", sha, sha[:7], "refs/heads/main"):
            path = self._download("weights.bin", revision=revision)
            assert path.read_bytes() == self.files["weights.bin"], revision
        assert self._download("dev.txt", revision="dev/x").read_bytes() == b"dev\n"

    def do_snapshot_download(self) -> None:
        for revision in (None, "v1.0", self._sha()[:9]):
            root = Path(self._snapshot(self.repo, revision=revision))
            for name, data in self.files.items():
                assert (root / name).read_bytes() == data, (revision, name)
        part = Path(self._snapshot(self.repo, allow_patterns="*.txt"))
        assert (part / "added.txt").exists() and not (part / "weights.bin").exists()

    def do_cached_and_offline(self) -> None:
        cache = self.folder / "kept"
        first = snapshot_download(self.repo, endpoint=self.endpoint, token=self.alice, cache_dir=cache)
        again = snapshot_download(self.repo, endpoint=self.endpoint, token=self.alice, cache_dir=cache)
        offline = snapshot_download(self.repo, cache_dir=cache, local_files_only=True)
        assert first == again == offline

    def do_resumed_download(self) -> None:
        """The line falls silent after 14 of 24 MB: the client must ask for the rest, and not for all again."""
        large, extra = self._random(24_000_000), {"resume_download": True} if VERSION < (0, 26) else {}
        # A file object goes by LFS: what came by Xet is fetched in chunks, which has no single line to cut.
        self.api.upload_file(path_or_fileobj=io.BytesIO(large), path_in_repo="large.bin", repo_id=self.private)
        with CuttingProxy(self.endpoint, cut_after=14_000_000) as proxy:
            api, result = HfApi(endpoint=proxy.url, token=self.alice), None
            for _ in range(2):
                try:
                    result = api.hf_hub_download(self.private, "large.bin", cache_dir=self.folder / "cut", **extra)
                    break
                except Exception as error:  # old clients resume at the next call
                    if proxy.cuts == 0:
                        raise
                    print(f"cut: {type(error).__name__}", file=sys.stderr)
            assert result and Path(result).read_bytes() == large
            starts = [int(line.split("bytes=")[1].split("-")[0]) for line in proxy.ranges]
            assert proxy.cuts == 1 and max(starts, default=0) > 0, (proxy.cuts, proxy.ranges)

    def do_fit_as_a_revision(self) -> None:
        budget = "fit@memory=1GB,latency=1s,fidelity=0.9"
        cache = self.folder / "fit"
        root = Path(
            snapshot_download(self.fitted, revision=budget, endpoint=self.endpoint, token=self.alice, cache_dir=cache)
        )
        assert list(root.glob("onnx/*.onnx")), list(root.rglob("*"))
        sha = self.api.model_info(self.fitted, revision=budget).sha
        assert root.name == sha
        offline = snapshot_download(self.fitted, revision=budget, cache_dir=cache, local_files_only=True)
        assert Path(offline) == root
        names = [name for name in self.api.list_repo_files(self.fitted, revision=budget) if name.endswith(".onnx")]
        path = hf_hub_download(
            self.fitted, names[0], revision=budget, endpoint=self.endpoint, token=self.alice, cache_dir=cache
        )
        assert Path(path).is_relative_to(root)
        ranks = {ref.name for ref in self.api.list_repo_refs(self.fitted).converts}
        assert "onnx" in ranks, ranks

    def do_nothing_fits(self) -> None:
        with refused(RevisionNotFoundError, 404, "nearest"):
            self._snapshot(self.fitted, revision="fit@memory=1KB")
        with refused(HfHubHTTPError, 400, "size"):
            self.api.model_info(self.fitted, revision="fit@bogus=1")
