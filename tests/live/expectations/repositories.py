"""Making, moving, changing and removing repositories; who may look."""

import httpx2 as httpx
from expectations.base import OTHER, ROBOT, Area, refused
from huggingface_hub import HfApi, RepoUrl
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

KINDS = ("model", "dataset", "space", "kernel")


class Repositories(Area):
    # --- who am I ------------------------------------------------------------------------------------------------
    def expect_whoami_names_the_user_and_the_organisations(self) -> None:
        me = self.api.whoami()
        assert (me["name"], me["fullname"], me["type"]) == (ROBOT, "Dummy User", "user"), me
        names = {org["name"]: org["fullname"] for org in me["orgs"]}
        assert names["valid_org_hub"] == "Dummy Hub Org", names
        assert self.api.whoami(cache=True)["name"] == ROBOT

    def expect_a_wrong_token_is_told_from_a_missing_repository(self) -> None:
        with refused(words="Invalid"):
            HfApi(endpoint=self.endpoint, token="hf_no_such_token").whoami()
        with refused(status=401):
            HfApi(endpoint=self.endpoint, token="hf_no_such_token").create_repo(self.name())

    def expect_the_full_name_of_a_repository(self) -> None:
        assert self.api.get_full_repo_name("x") == f"{ROBOT}/x"
        assert self.api.get_full_repo_name("x", organization="org") == "org/x"

    # --- create --------------------------------------------------------------------------------------------------
    def expect_a_created_repository_is_a_repo_url(self) -> None:
        name = self.name()
        url = self.api.create_repo(name)
        assert (
            isinstance(url, RepoUrl) and url.repo_id == f"{ROBOT}/{name}" and url == f"{self.endpoint}/{ROBOT}/{name}"
        )
        assert self.titles(url.repo_id) == ["initial commit"] and self.files(url.repo_id) == {".gitattributes"}
        assert self.api.list_repo_commits(url.repo_id)[0].authors == [ROBOT]

    def expect_every_kind_has_its_own_address(self) -> None:
        for kind in KINDS[1:]:
            name = self.name(kind)
            url = self.api.create_repo(name, repo_type=kind, space_sdk="static" if kind == "space" else None)
            assert url == f"{self.endpoint}/{kind}s/{ROBOT}/{name}" and url.repo_type == kind, url
            assert url.endpoint == self.endpoint and url.namespace == ROBOT and url.repo_name == name
            self.api.delete_repo(url.repo_id, repo_type=kind)

    def expect_creating_again_is_409_or_fine(self) -> None:
        repo = self.repo()
        with refused(status=409):
            self.api.create_repo(repo)
        assert self.api.create_repo(repo, exist_ok=True).repo_id == repo

    def expect_exist_ok_on_somebody_elses_repository(self) -> None:
        for kind in ("model", "dataset"):
            theirs = self.repo(kind, api=self.other)
            url = self.api.create_repo(theirs, repo_type=kind, exist_ok=True)
            assert url.repo_id == theirs and url.repo_type == kind

    def expect_visibility_and_private_mean_the_same(self) -> None:
        for options in ({"visibility": "private"}, {"private": True}):
            assert self.api.model_info(self.repo(**options), expand=["private"]).private is True
        assert self.api.model_info(self.repo(visibility="public"), expand=["private"]).private is False

    def expect_an_organisation_may_make_its_repositories_private(self) -> None:
        keeper = HfApi(endpoint=self.endpoint, token=self.keeper_token)
        repo = keeper.create_repo(f"EnterpriseOrgPrivate/{self.name()}").repo_id
        assert keeper.model_info(repo, expand=["private"]).private is True
        assert keeper.create_repo(f"EnterpriseOrgPrivate/{self.name()}", private=False)

    # --- exists --------------------------------------------------------------------------------------------------
    def expect_exists_calls_keep_the_secret_of_private_ones(self) -> None:
        repo = self.repo(private=True)
        self.put(repo, {"file.txt": b"content"})
        api = self.api
        assert api.repo_exists(repo) and api.revision_exists(repo, "main") and api.file_exists(repo, "file.txt")
        assert not api.repo_exists(repo, token=False) and not api.repo_exists("no-such-repository")
        assert not api.revision_exists(repo, "nope") and not api.revision_exists("no-such-repository", "main")
        assert not api.revision_exists(repo, "main", token=False)
        assert not api.file_exists(repo, "nope") and not api.file_exists("no-such-repository", "file.txt")
        assert not api.file_exists(repo, "file.txt", revision="nope")
        assert not api.file_exists(repo, "file.txt", token=False)

    def expect_a_private_repository_does_not_exist_for_others(self) -> None:
        for kind in ("model", "dataset"):
            repo = self.repo(kind, private=True)
            self.api.repo_info(repo, repo_type=kind)
            for api in (self.other, self.nobody):
                with refused(RepositoryNotFoundError, words="Repository Not Found"):
                    api.repo_info(repo, repo_type=kind)

    def expect_auth_check(self) -> None:
        repo = self.repo("dataset")
        self.api.auth_check(repo, repo_type="dataset")
        self.api.auth_check(repo, repo_type="dataset", write=True)
        self.other.auth_check(repo, repo_type="dataset")
        with refused(status=403):
            self.other.auth_check(repo, repo_type="dataset", write=True)
        with refused(RepositoryNotFoundError):
            self.api.auth_check("username/missing_repo_id")

    # --- settings ------------------------------------------------------------------------------------------------
    def expect_gates_and_privacy_are_set_together(self) -> None:
        for kind in ("model", "dataset"):
            repo = self.repo(kind)
            for gated in ("auto", "manual", False):
                for private in (True, False):
                    self.api.update_repo_settings(repo, gated=gated, private=private, repo_type=kind)
                    info = self.api.repo_info(repo, repo_type=kind)
                    assert (info.gated, info.private) == (gated, private), (info.gated, info.private)

    def expect_visibility_is_set(self) -> None:
        repo = self.repo()
        for word in ("private", "public"):
            self.api.update_repo_settings(repo, visibility=word)
            assert self.api.model_info(repo, expand=["private"]).private is (word == "private")

    def expect_settings_in_the_background_are_done_in_order(self) -> None:
        repo = self.repo()
        self.api.run_as_future(self.api.update_repo_settings, repo_id=repo, private=True)
        first = self.api.run_as_future(self.api.model_info, repo_id=repo)
        self.api.run_as_future(self.api.update_repo_settings, repo_id=repo, private=False)
        second = self.api.run_as_future(self.api.model_info, repo_id=repo)
        assert first.result().private is True and second.result().private is False

    # --- gates ---------------------------------------------------------------------------------------------------
    def _gated(self, gated: str = "auto") -> str:
        repo = self.repo()
        answer = httpx.put(
            f"{self.endpoint}/api/models/{repo}/settings", json={"gated": gated}, headers=self.api._build_hf_headers()
        )
        assert answer.status_code == 200, answer.text
        return repo

    def expect_a_gate_shows_the_card_and_keeps_the_files(self) -> None:
        repo = self._gated()
        self.put(repo, {"README.md": b"---\nlicense: mit\n---\n# Gated\n", "weights.bin": b"weights"})
        words = f"Access to model {repo} is restricted and you are not in the authorized list"
        with refused(GatedRepoError, 403, words):
            self.pulled(repo, ".gitattributes", self.other)
        with refused(GatedRepoError, 401):
            self.pulled(repo, "weights.bin", self.nobody)
        assert self.pulled(repo, "README.md", self.other).startswith(b"---")
        assert self.other.model_info(repo).gated == "auto" and self.other.repo_exists(repo)
        with refused(GatedRepoError):
            self.other.auth_check(repo)

    def expect_access_is_granted_cancelled_rejected_and_accepted(self) -> None:
        repo, api = self._gated("manual"), self.api
        lists = {
            "accepted": api.list_accepted_access_requests, "pending": api.list_pending_access_requests,
            "rejected": api.list_rejected_access_requests,
        }  # fmt: skip

        def names() -> dict[str, list[str]]:
            return {status: [one.username for one in call(repo)] for status, call in lists.items()}

        assert names() == {"accepted": [], "pending": [], "rejected": []}
        api.grant_access(repo, OTHER)
        (granted,) = list(lists["accepted"](repo))
        assert (granted.username, granted.email, granted.status) == (OTHER, None, "accepted") and granted.timestamp
        assert self.pulled(repo, ".gitattributes", self.other)
        api.cancel_access_request(repo, OTHER)
        assert names() == {"accepted": [], "pending": [OTHER], "rejected": []}
        with refused(GatedRepoError):
            self.pulled(repo, ".gitattributes", self.other)
        api.reject_access_request(repo, OTHER, rejection_reason="Not you")
        assert names() == {"accepted": [], "pending": [], "rejected": [OTHER]}
        api.accept_access_request(repo, OTHER)
        assert names() == {"accepted": [OTHER], "pending": [], "rejected": []}

    def expect_access_which_is_there_already_is_refused(self) -> None:
        repo, api = self._gated(), self.api
        api.grant_access(repo, OTHER)
        with refused():
            api.grant_access(repo, OTHER)
        with refused():
            api.accept_access_request(repo, OTHER)
        api.reject_access_request(repo, OTHER, rejection_reason="Not you")
        with refused():
            api.reject_access_request(repo, OTHER, rejection_reason="Not you")
        api.cancel_access_request(repo, OTHER)
        with refused():
            api.cancel_access_request(repo, OTHER)

    # --- move ----------------------------------------------------------------------------------------------------
    def expect_a_moved_repository_is_found_under_both_names(self) -> None:
        for kind in ("model", "dataset", "space"):
            before, after = self.repo(kind), f"{ROBOT}/{self.name('moved')}"
            self.put(before, {"file.txt": b"content"}, repo_type=kind)
            self.api.move_repo(before, after, repo_type=kind)
            assert self.api.repo_info(before, repo_type=kind).id == after
            assert self.pulled(before, "file.txt", repo_type=kind) == b"content"
            self.put(before, {"more.txt": b"more"}, repo_type=kind)
            assert "more.txt" in self.files(after, repo_type=kind)
            self.api.delete_repo(after, repo_type=kind)

    def expect_a_private_moved_repository_is_pulled_by_its_old_name(self) -> None:
        before = self.repo()
        self.api.update_repo_settings(before, private=True)
        self.put(before, {"file.txt": b"content"})
        self.api.move_repo(before, before + "_renamed")
        assert self.pulled(before, "file.txt") == b"content"
        with refused(RepositoryNotFoundError):
            self.pulled(before, "file.txt", self.other)
        self.api.move_repo(before + "_renamed", before)
        assert self.pulled(before, "file.txt") == b"content"

    def expect_a_move_to_a_taken_name_is_refused(self) -> None:
        one, two = self.repo(), self.repo()
        with refused(words="A model repository called"):
            self.api.move_repo(one, two)
        with refused(ValueError, words="Invalid repo_id"):
            self.api.move_repo(one, "no_namespace")

    # --- duplicate -----------------------------------------------------------------------------------------------
    def expect_a_duplicate_has_the_same_files(self) -> None:
        for kind in ("model", "dataset", "space"):
            source = self.repo(kind, api=self.other)
            self.other.upload_file(
                path_or_fileobj=b"weights", path_in_repo="deep/weights.bin", repo_id=source, repo_type=kind
            )
            copy = self.api.duplicate_repo(source, repo_type=kind).repo_id
            assert copy == f"{ROBOT}/{source.split('/')[1]}"
            assert self.files(copy, repo_type=kind) == self.files(source, repo_type=kind)
            assert self.pulled(copy, "deep/weights.bin", repo_type=kind) == b"weights"
            with refused(status=409):
                self.api.duplicate_repo(source, repo_type=kind)
            assert self.api.duplicate_repo(source, repo_type=kind, exist_ok=True).repo_id == copy
        with refused(RepositoryNotFoundError):
            self.api.duplicate_repo(f"{OTHER}/repo_that_does_not_exist")

    # --- delete --------------------------------------------------------------------------------------------------
    def expect_deleting_what_is_missing_says_so(self) -> None:
        with refused(RepositoryNotFoundError, 404, "Request ID: "):
            self.api.delete_repo("repo-that-does-not-exist")
        with refused(RepositoryNotFoundError, words="Repository Not Found"):
            self.api.delete_repo("repo-that-does-not-exist")
        self.api.delete_repo("repo-that-does-not-exist", missing_ok=True)

    def expect_names_are_found_in_any_case(self) -> None:
        repo = self.api.create_repo(self.name("CaSe_Is_ImPoRtAnT")).repo_id
        self.put(repo.lower(), {"file.txt": b"content", "lfs.bin": b"LFS content"})
        assert {"file.txt", "lfs.bin"} <= self.files(repo)

    # --- spaces and kernels --------------------------------------------------------------------------------------
    def expect_a_space_needs_its_kit(self) -> None:
        with refused(ValueError, words="No space_sdk provided"):
            self.api.create_repo(self.name(), repo_type="space")
        for sdk in ("static", "docker", "gradio"):
            repo = self.api.create_repo(self.name(), repo_type="space", space_sdk=sdk).repo_id
            assert self.api.space_info(repo).sdk == sdk
        assert self.api.space_info(repo).author == ROBOT and self.api.space_info(repo, expand=["likes"]).likes == 0

    def expect_a_kernel_is_a_repository_too(self) -> None:
        repo = self.repo("kernel")
        self.put(repo, {"build/torch-ext/torch_binding.cpp": b"int main;"}, repo_type="kernel")
        self.api.create_branch(repo, branch="v1", repo_type="kernel")
        info = self.api.kernel_info(repo)
        assert (info.id, info.author) == (repo, ROBOT)
        refs = {ref.name for ref in self.api.list_repo_refs(repo, repo_type="kernel").branches}
        assert refs == {"main", "v1"}
        path = "build/torch-ext/torch_binding.cpp"
        assert path in self.files(repo, repo_type="kernel", revision="v1")
        assert self.pulled(repo, path, repo_type="kernel", revision="v1") == b"int main;"
        assert any(item.path == path for item in self.api.list_repo_tree(repo, repo_type="kernel", recursive=True))
