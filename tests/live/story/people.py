"""Likes, collections, webhooks, and who people are."""

from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError
from story.base import refused
from story.life import Life


class People(Life):
    def do_likes(self) -> None:
        stranger = HfApi(endpoint=self.endpoint, token=self.bob)
        if hasattr(stranger, "like"):
            stranger.like(self.repo)
        else:
            assert self._request("POST", f"/api/models/{self.repo}/like", self.bob) == 200
        assert self.repo in stranger.list_liked_repos().models
        assert self.api.model_info(self.repo).likes == 1
        if hasattr(self.api, "list_repo_likers"):
            likers = [one.username for one in self.api.list_repo_likers(self.repo)]
            assert likers == ["bob"], likers
        stranger.unlike(self.repo)
        assert self.repo not in stranger.list_liked_repos().models
        with refused(RepositoryNotFoundError):
            stranger.unlike("alice/no-such-repository")

    def do_collections(self) -> None:
        create = self._need("create_collection")
        made = create(f"Collected {self.tag}", namespace="alice", description="All of it")
        self.api.add_collection_item(made.slug, self.repo, "model", note="The first")
        self.api.add_collection_item(made.slug, self.dataset, "dataset")
        with refused(HfHubHTTPError, 409):
            self.api.add_collection_item(made.slug, self.repo, "model")
        found = self.api.get_collection(made.slug)
        assert [one.item_id for one in found.items] == [self.repo, self.dataset], found
        self.api.update_collection_item(made.slug, found.items[0].item_object_id, note="Noted", position=1)
        self.api.update_collection_metadata(made.slug, title=f"Renamed {self.tag}")
        again = self.api.get_collection(made.slug)
        assert again.title == f"Renamed {self.tag}" and again.items[1].note == "Noted", again
        assert again.slug in {one.slug for one in self.api.list_collections(owner="alice", limit=500)}
        self.api.delete_collection(again.slug)
        with refused(HfHubHTTPError, 404):
            self.api.get_collection(again.slug)

    def do_webhooks(self) -> None:
        create = self._need("create_webhook")
        made = create(url="https://example.org/hook", watched=[{"type": "user", "name": "alice"}], domains=["repo"])
        assert made.id in {one.id for one in self.api.list_webhooks()}
        assert self.api.disable_webhook(made.id).disabled
        self.api.delete_webhook(made.id)
        with refused(HfHubHTTPError):
            self.api.get_webhook(made.id)

    def do_overviews(self) -> None:
        overview = self._need("get_user_overview")
        assert overview("alice").username == "alice" and overview("alice").num_models > 0
        if hasattr(self.api, "get_organization_overview"):
            assert self.api.get_organization_overview("acme").name == "acme"
        members = [one.username for one in self.api.list_organization_members("acme")]
        assert "alice" in members, members

    def do_tags_by_type(self) -> None:
        tags = self._need("get_model_tags")()
        assert tags is not None
