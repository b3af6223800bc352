"""Discussions and pull requests, likes, collections, webhooks, people."""

import types
from typing import Any
from uuid import uuid4

from expectations.base import OTHER, ROBOT, Area, refused
from huggingface_hub import Collection, CommitOperationAdd, WebhookInfo, WebhookWatchedItem
from huggingface_hub.errors import RepositoryNotFoundError


class Community(Area):
    # --- discussions ---------------------------------------------------------------------------------------------
    def _two(self) -> tuple[str, Any, Any]:
        repo = self.repo()
        pr = self.api.create_discussion(repo, pull_request=True, title="Test Pull Request")
        return repo, pr, self.api.create_discussion(repo, pull_request=False, title="Test Discussion")

    def _numbers(self, repo: str, **options: Any) -> list[int]:
        found = self.api.get_repo_discussions(repo, **options)
        assert isinstance(found, types.GeneratorType)
        return [one.num for one in found]

    def expect_discussions_and_pull_requests_share_their_numbers(self) -> None:
        repo, *_ = self._two()
        for pull_request in (False, True):
            one = self.api.create_discussion(repo, title="  A title !  ", pull_request=pull_request)
            assert (one.num, one.author, one.title) == (3 + pull_request, ROBOT, "A title !")
            assert one.is_pull_request is pull_request and one.status == ("draft" if pull_request else "open")
        assert self.api.repo_info(repo, revision="refs/pr/1").id == repo

    def expect_the_address_of_a_discussion(self) -> None:
        for kind, place in (("model", ""), ("dataset", "datasets/"), ("space", "spaces/")):
            repo = self.repo(kind)
            one = self.api.create_discussion(repo, title="title", repo_type=kind)
            assert one.url == f"{self.endpoint}/{place}{repo}/discussions/1", one.url

    def expect_discussions_by_type_author_and_status(self) -> None:
        repo, pr, talk = self._two()
        assert self._numbers(repo) == [talk.num, pr.num] == self._numbers(repo, discussion_type="all")
        assert self._numbers(repo, discussion_type="pull_request") == [pr.num]
        assert self._numbers(repo, discussion_type="discussion") == [talk.num]
        assert self._numbers(repo, author="unknown") == [] and len(self._numbers(repo, author=ROBOT)) == 2
        self.api.change_discussion_status(repo, talk.num, "closed")
        assert self._numbers(repo, discussion_status="open") == [pr.num]
        assert self._numbers(repo, discussion_status="closed") == [talk.num]
        assert self._numbers(repo, discussion_status="all") == [talk.num, pr.num]

    def expect_many_discussions_in_pages(self) -> None:
        repo = self.repo()
        for number in range(61):
            self.api.create_discussion(repo, title=f"Number {number}")
        assert self._numbers(repo) == list(range(61, 0, -1))

    def expect_details_are_what_creation_said(self) -> None:
        repo, pr, talk = self._two()
        assert self.api.get_discussion_details(repo, talk.num) == talk
        assert self.api.get_discussion_details(repo, pr.num) == pr

    def expect_comments_are_added_edited_and_hidden(self) -> None:
        repo, pr, talk = self._two()

        def first(one: Any) -> Any:
            return next(event for event in one.events if event.type == "comment")

        edited = self.api.edit_discussion_comment(
            repo, discussion_num=pr.num, comment_id=first(pr).id, new_content="**Edited** comment 🤗"
        )
        found = first(self.api.get_discussion_details(repo, pr.num))
        assert found == edited and found.edited is True and found.content == "**Edited** comment 🤗"
        assert found.id == first(pr).id and found.last_edited_at and found.last_edited_by == ROBOT
        text = "  # Multi-line\n\n **With** *formatting* & [links](http://hf.co)! 💥\n"
        new = self.api.comment_discussion(repo, talk.num, text)
        events = self.api.get_discussion_details(repo, talk.num).events
        assert len(events) == 2 and new.id in {event.id for event in events}
        hidden = self.api.hide_discussion_comment(repo, talk.num, comment_id=new.id)
        assert hidden.hidden is True

    def expect_a_discussion_is_renamed(self) -> None:
        repo, _, talk = self._two()
        event = self.api.rename_discussion(repo, discussion_num=talk.num, new_title="New title2")
        found = self.api.get_discussion_details(repo, talk.num)
        assert event.id in {one.id for one in found.events} and found.title == "New title2"
        assert (event.old_title, event.new_title) == (talk.title, "New title2")

    def expect_a_discussion_is_closed(self) -> None:
        repo, _, talk = self._two()
        event = self.api.change_discussion_status(repo, talk.num, "closed", comment="Done")
        found = self.api.get_discussion_details(repo, talk.num)
        assert event.id in {one.id for one in found.events} and (event.new_status, found.status) == ("closed", "closed")
        with refused(ValueError):
            self.api.change_discussion_status(repo, talk.num, "published")

    def expect_a_pull_request_is_merged(self) -> None:
        repo, pr, _ = self._two()
        operations = [CommitOperationAdd("file.test", b"Content")]
        self.api.create_commit(repo, operations, commit_message="Commit some file", revision=pr.git_reference)
        self.api.change_discussion_status(repo, pr.num, "open")
        self.api.merge_pull_request(repo, pr.num)
        found = self.api.get_discussion_details(repo, pr.num)
        assert found.status == "merged" and found.merge_commit_oid == self.api.model_info(repo).sha
        assert self.pulled(repo, "file.test") == b"Content" and "Content" in (found.diff or "")

    def expect_a_conflict_is_told_and_not_merged(self) -> None:
        repo = self.repo()
        self.put(repo, {"file.txt": b"one\n"})
        info = self.put(repo, {"file.txt": b"two\n"}, create_pr=True)
        self.put(repo, {"file.txt": b"three\n"})
        found = self.api.get_discussion_details(repo, info.pr_num)
        assert found.conflicting_files == ["file.txt"], found.conflicting_files
        with refused():
            self.api.merge_pull_request(repo, info.pr_num)
        assert self.pulled(repo, "file.txt") == b"three\n"

    def expect_a_stranger_comments_but_does_not_merge(self) -> None:
        repo, pr, talk = self._two()
        self.api.change_discussion_status(repo, pr.num, "open")
        assert self.other.comment_discussion(repo, talk.num, "Hello").author == OTHER
        with refused(status=403):
            self.other.merge_pull_request(repo, pr.num)

    # --- likes ---------------------------------------------------------------------------------------------------
    def expect_likes_are_listed(self) -> None:
        assert self.api.list_liked_repos().user == ROBOT
        assert self.api.list_liked_repos(user=OTHER).user == OTHER
        with refused(RepositoryNotFoundError):
            self.api.unlike("missing_repo_id")
        assert list(self.api.list_repo_likers(self.repo())) == []

    # --- collections ---------------------------------------------------------------------------------------------
    def expect_a_collection_with_a_description(self) -> None:
        mark = uuid4()
        made = self.api.create_collection(f"My cool stuff {mark}", description="Contains a lot of cool stuff")
        assert isinstance(made, Collection) and made.title == f"My cool stuff {mark}" and made.items == []
        assert made.description == "Contains a lot of cool stuff" and made.slug.startswith(
            f"{ROBOT}/my-cool-stuff-{mark}"
        )
        assert made.url == f"{self.endpoint}/collections/{made.slug}"
        again = self.api.create_collection(made.title, exists_ok=True)
        assert again.slug == made.slug
        assert any(one.slug == made.slug for one in self.api.list_collections(owner=ROBOT, limit=100))

    def expect_a_private_collection_is_ones_own(self) -> None:
        made = self.api.create_collection(f"Mine {uuid4()}", private=True)
        self.api.get_collection(made.slug)
        with refused():
            self.other.get_collection(made.slug)
        self.api.update_collection_metadata(made.slug, private=False)
        assert self.other.get_collection(made.slug).slug == made.slug

    def expect_a_renamed_collection_is_found_under_both_slugs(self) -> None:
        made = self.api.create_collection(f"First {uuid4()}")
        title = f"New title {uuid4()}"
        new = self.api.update_collection_metadata(
            made.slug, title=title, description="New description", private=True, theme="pink"
        )
        assert (new.title, new.description, new.private, new.theme) == (title, "New description", True, "pink")
        assert made.slug != new.slug and made.slug.split("-")[-1] == new.slug.split("-")[-1]
        assert self.api.get_collection(made.slug).slug == new.slug == self.api.get_collection(new.slug).slug

    def expect_a_collection_is_deleted_once(self) -> None:
        made = self.api.create_collection(f"Gone {uuid4()}")
        self.api.delete_collection(made.slug)
        with refused():
            self.api.delete_collection(made.slug)
        self.api.delete_collection(made.slug, missing_ok=True)

    def expect_items_are_added_moved_noted_and_removed(self) -> None:
        model, dataset = self.repo(), self.repo("dataset")
        nested = self.api.create_collection(f"nested collection {self.name()}").slug
        slug = self.api.create_collection(f"Items {uuid4()}").slug
        self.api.add_collection_item(slug, model, "model", note="This is my model")
        self.api.add_collection_item(slug, dataset, "dataset")
        self.api.add_collection_item(slug, nested, "collection")
        items = self.api.get_collection(slug).items
        assert [(one.item_id, one.item_type, one.note) for one in items] == [
            (model, "model", "This is my model"), (dataset, "dataset", None), (nested, "collection", None),
        ]  # fmt: skip
        with refused(status=409):
            self.api.add_collection_item(slug, model, "model")
        self.api.add_collection_item(slug, model, "model", exists_ok=True)
        with refused(status=404):
            self.api.add_collection_item(slug, model, "dataset")
        self.api.update_collection_item(slug, items[0].item_object_id, note="New note", position=1)
        items = self.api.get_collection(slug).items
        assert [one.item_id for one in items][:2] == [dataset, model] and items[1].note == "New note"
        self.api.delete_collection_item(slug, items[1].item_object_id)
        self.api.delete_collection_item(slug, items[1].item_object_id, missing_ok=True)
        assert [one.item_id for one in self.api.get_collection(slug).items] == [dataset, nested]
        assert slug in {one.slug for one in self.api.list_collections(item=f"datasets/{dataset}")}

    # --- webhooks ------------------------------------------------------------------------------------------------
    def _webhook(self, url: str = "https://webhook.site/test") -> Any:
        watched = [WebhookWatchedItem(type="user", name=OTHER), {"type": "org", "name": "valid_org_hub"}]
        return self.api.create_webhook(url=url, watched=watched, domains=["repo", "discussion"], secret="my-secret")

    def expect_webhooks_are_made_listed_changed_and_removed(self) -> None:
        made = self._webhook()
        assert (
            isinstance(made, WebhookInfo)
            and made.url == "https://webhook.site/test"
            and made.domains == ["repo", "discussion"]
        )
        found = self.api.get_webhook(made.id)
        assert (found.id, found.url, found.secret) == (made.id, made.url, "my-secret")
        assert any(one.id == made.id for one in self.api.list_webhooks())
        changed = self.api.update_webhook(
            made.id, url="https://webhook.site/new", watched=made.watched, domains=["repo"]
        )
        assert changed.url == "https://webhook.site/new"
        assert self.api.disable_webhook(made.id).disabled is True
        assert not self.api.enable_webhook(made.id).disabled
        self.api.delete_webhook(made.id)
        with refused():
            self.api.get_webhook(made.id)

    # --- people --------------------------------------------------------------------------------------------------
    def expect_people_and_organisations_have_an_overview(self) -> None:
        me = self.api.get_user_overview(ROBOT)
        assert (me.username, me.fullname, me.user_type) == (ROBOT, "Dummy User", "user")
        assert "valid_org_hub" in {org.name for org in me.orgs} and me.num_models >= 0
        assert me.num_followers == 0 == me.num_following
        org = self.api.get_organization_overview("valid_org_hub")
        assert (org.name, org.fullname) == ("valid_org_hub", "Dummy Hub Org") and org.avatar_url
        assert [one.username for one in self.api.list_organization_members("valid_org_hub")] == [ROBOT]
        assert list(self.api.list_user_followers(ROBOT)) == [] == list(self.api.list_user_following(ROBOT))
        assert list(self.api.list_organization_followers("valid_org_hub")) == []
        with refused(status=404):
            self.api.get_user_overview("nobody-of-this-name")

    def expect_ones_own_repositories_with_their_size(self) -> None:
        repo = self.repo()
        self.put(repo, {"lfs.bin": b"x" * 5000})
        found = {one.id: one for one in self.api.list_user_repos()}
        assert repo in found, list(found)[:5]
        assert list(self.api.list_user_repos("valid_org_hub")) is not None
