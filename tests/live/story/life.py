"""What happens to repositories later: they move, are duplicated, gated, squashed and cleaned."""

import json
import urllib.request
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.utils import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from story.base import CARD, Chapter, NotThere, refused


class Life(Chapter):
    def _need(self, name: str) -> Any:
        if not hasattr(self.api, name):
            raise NotThere(name)
        return getattr(self.api, name)

    def _request(self, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> int:
        """What people do in a browser and no function of the client does."""
        request = urllib.request.Request(
            self.endpoint + path, json.dumps(body or {}).encode(), method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request) as answer:
            status: int = answer.status
            return status

    # --- move and duplicate --------------------------------------------------------------------------------------
    def do_move_repository(self) -> None:
        before, after = f"{self.repo}-before", f"{self.repo}-after"
        self.api.create_repo(before)
        self.api.upload_file(path_or_fileobj=b"moved", path_in_repo="file.bin", repo_id=before)
        self.api.move_repo(before, after)
        assert self.api.model_info(after).id == after == self.api.model_info(before).id
        with refused(HfHubHTTPError, 409, "already exists"):
            self.api.move_repo(after, self.repo)
        self.moved = before, after

    def do_download_by_the_old_name(self) -> None:
        path = self.api.hf_hub_download(self.moved[0], "file.bin", cache_dir=self._cache())
        with open(path, "rb") as file:
            assert file.read() == b"moved"
        self.api.upload_file(path_or_fileobj=b"more", path_in_repo="more.txt", repo_id=self.moved[0])
        assert "more.txt" in self.api.list_repo_files(self.moved[1])

    def do_duplicate_repository(self) -> None:
        if hasattr(self.api, "duplicate_repo"):
            copy = self.api.duplicate_repo(self.repo, f"{self.repo}-copy", private=True).repo_id
            assert set(self.api.list_repo_files(copy)) == set(self.api.list_repo_files(self.repo))
            assert self.api.model_info(copy).private is True
            return
        space = f"{self.repo}-space"
        self.api.create_repo(space, repo_type="space", space_sdk="static")
        self.api.upload_file(path_or_fileobj=b"<p>", path_in_repo="index.html", repo_id=space, repo_type="space")
        self.api.duplicate_space(space, f"{self.repo}-space-copy")
        copied = self.api.list_repo_files(f"{self.repo}-space-copy", repo_type="space")
        assert "index.html" in copied, copied

    def do_auth_check(self) -> None:
        check = self._need("auth_check")
        check(self.repo)
        with refused(RepositoryNotFoundError):
            HfApi(endpoint=self.endpoint, token=self.bob).auth_check(self.private)

    # --- gates ---------------------------------------------------------------------------------------------------
    def do_gated_repository(self) -> None:
        repo = self.gated = f"{self.repo}-gated"
        self.api.create_repo(repo)
        self.api.upload_file(path_or_fileobj=CARD.format(tag="x").encode(), path_in_repo="README.md", repo_id=repo)
        self.api.upload_file(path_or_fileobj=b"secret", path_in_repo="weights.bin", repo_id=repo)
        if hasattr(self.api, "update_repo_settings"):
            self.api.update_repo_settings(repo, gated="manual")
        else:
            self._request("PUT", f"/api/models/{repo}/settings", self.alice, {"gated": "manual"})
        stranger = HfApi(endpoint=self.endpoint, token=self.bob)
        with refused(GatedRepoError, words="restricted"):
            stranger.hf_hub_download(repo, "weights.bin", cache_dir=self._cache())
        assert stranger.model_info(repo).gated == "manual"
        assert stranger.hf_hub_download(repo, "README.md", cache_dir=self._cache())

    def do_access_is_granted_and_taken(self) -> None:
        self._need("grant_access")(self.gated, "bob")
        stranger = HfApi(endpoint=self.endpoint, token=self.bob)
        assert stranger.hf_hub_download(self.gated, "weights.bin", cache_dir=self._cache())
        assert [one.username for one in self.api.list_accepted_access_requests(self.gated)] == ["bob"]
        self.api.cancel_access_request(self.gated, "bob")
        with refused(GatedRepoError):
            stranger.hf_hub_download(self.gated, "weights.bin", cache_dir=self._cache())
        assert [one.username for one in self.api.list_pending_access_requests(self.gated)] == ["bob"]

    # --- history -------------------------------------------------------------------------------------------------
    def do_super_squash_history(self) -> None:
        squash = self._need("super_squash_history")
        before = set(self.api.list_repo_files(self.moved[1]))
        squash(self.moved[1])
        assert len(self.api.list_repo_commits(self.moved[1])) == 1
        assert set(self.api.list_repo_files(self.moved[1])) == before

    def do_lfs_files_are_removed_for_ever(self) -> None:
        listed = list(self._need("list_lfs_files")(self.moved[1]))
        assert [one.filename for one in listed] == ["file.bin"], listed
        self.api.permanently_delete_lfs_files(self.moved[1], listed)
        assert "file.bin" not in self.api.list_repo_files(self.moved[1])
