"""Pull requests and discussions."""

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import HfHubHTTPError
from story.base import Chapter, NotThere, refused


class Proposals(Chapter):
    def _stranger(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=self.bob)

    def do_pull_request_by_upload_file(self) -> None:
        info = self._stranger().upload_file(
            path_or_fileobj=b"proposed\n", path_in_repo="proposed.txt", repo_id=self.repo, create_pr=True,
            commit_message="Propose a text",
        )  # fmt: skip
        found = [one for one in self.api.get_repo_discussions(self.repo) if one.title == "Propose a text"]
        assert len(found) == 1 and found[0].is_pull_request and found[0].author == "bob", found
        self.proposal = found[0].num
        assert f"refs/pr/{self.proposal}" == getattr(info, "pr_revision", f"refs/pr/{self.proposal}")
        path = self._download("proposed.txt", revision=f"refs/pr/{self.proposal}")
        assert path.read_bytes() == b"proposed\n"
        assert "proposed.txt" not in self.api.list_repo_files(self.repo)

    def do_pull_request_of_a_large_file(self) -> None:
        data, stranger = self._random(2_000_000), self._stranger()
        operations = [CommitOperationAdd("proposed.bin", data)]
        info = stranger.create_commit(self.repo, operations, commit_message="Propose a file", create_pr=True)
        assert info.pr_num and self._download("proposed.bin", revision=info.pr_revision).read_bytes() == data
        more = [CommitOperationAdd("proposed-2.bin", data[::-1])]
        stranger.create_commit(self.repo, more, commit_message="And another", revision=info.pr_revision)
        assert self._download("proposed-2.bin", revision=info.pr_revision).read_bytes() == data[::-1]
        with refused(HfHubHTTPError, 403):
            stranger.merge_pull_request(self.repo, info.pr_num)
        self.api.change_discussion_status(self.repo, info.pr_num, "closed")

    def do_merge_of_a_pull_request(self) -> None:
        details = self.api.get_discussion_details(self.repo, self.proposal)
        if details.status == "draft":
            self.api.change_discussion_status(self.repo, self.proposal, "open")
        self.api.merge_pull_request(self.repo, self.proposal, comment="Thank you")
        assert self.api.get_discussion_details(self.repo, self.proposal).status == "merged"
        assert self._served("proposed.txt") == b"proposed\n"
        self.files["proposed.txt"] = b"proposed\n"
        assert "proposed.txt" in self.api.list_repo_files(self.repo)

    def do_discussion_with_comments(self) -> None:
        made = self._stranger().create_discussion(self.repo, title="A question", description="Why?")
        assert made.title == "A question" and made.url.startswith(self.endpoint) and not made.is_pull_request
        comment = self.api.comment_discussion(self.repo, made.num, "Because.")
        self.api.edit_discussion_comment(self.repo, made.num, comment.id, "Because **so**.")
        self.api.rename_discussion(self.repo, made.num, "A better question")
        self.api.change_discussion_status(self.repo, made.num, "closed")
        found = self.api.get_discussion_details(self.repo, made.num)
        assert (found.title, found.status) == ("A better question", "closed")
        texts = [event.content for event in found.events if event.type == "comment"]
        assert texts == ["Why?", "Because **so**."], texts

    def do_pull_request_made_first(self) -> None:
        made = self.api.create_pull_request(self.repo, title="Drafted")
        self.api.upload_file(
            path_or_fileobj=b"draft\n", path_in_repo="draft.txt", repo_id=self.repo, revision=made.git_reference
        )
        refs = self.api.list_repo_refs(self.repo)
        assert "draft.txt" in self.api.list_repo_files(self.repo, revision=made.git_reference)
        assert made.git_reference not in {ref.ref for ref in refs.branches}
        self.api.change_discussion_status(self.repo, made.num, "closed")

    def do_references_of_pull_requests(self) -> None:
        try:
            refs = self.api.list_repo_refs(self.repo, include_pull_requests=True)
        except TypeError as error:
            raise NotThere("include_pull_requests") from error
        assert f"refs/pr/{self.proposal}" in {ref.ref for ref in refs.pull_requests}
