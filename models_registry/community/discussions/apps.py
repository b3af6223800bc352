from django.apps import AppConfig


class DiscussionsConfig(AppConfig):
    name = "models_registry.community.discussions"

    def ready(self) -> None:
        from models_registry.community.discussions.models import PULL_REFS
        from models_registry.community.discussions.pushing import PullRequestRefs, commits_of_pulls
        from models_registry.community.discussions.receivers import on_revision_published
        from models_registry.repos.events import revision_published
        from models_registry.repos.pushes import keepers
        from models_registry.repos.roots import register_pins

        register_pins(commits_of_pulls)
        keepers[PULL_REFS] = PullRequestRefs()
        revision_published.connect(on_revision_published, dispatch_uid="models_registry.community.discussions")
