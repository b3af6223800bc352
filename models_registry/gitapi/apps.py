from typing import Any

from django.apps import AppConfig


class GitApiConfig(AppConfig):
    name = "models_registry.gitapi"

    def ready(self) -> None:
        from models_registry.gitapi.packs import forget
        from models_registry.repos.events import history_rewritten, repository_deleted

        def throw_away(sender: object, *, repository: Any, **_: Any) -> None:
            forget(repository)

        for signal in (history_rewritten, repository_deleted):
            signal.connect(throw_away, dispatch_uid="models_registry.gitapi", weak=False)
