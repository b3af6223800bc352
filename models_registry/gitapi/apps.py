from typing import Any

from django.apps import AppConfig


class GitApiConfig(AppConfig):
    name = "models_registry.gitapi"

    def ready(self) -> None:
        from models_registry.gitapi.packs import forget
        from models_registry.repos.events import repository_deleted

        def on_repository_deleted(sender: object, *, repository: Any, **_: Any) -> None:
            forget(repository)

        repository_deleted.connect(on_repository_deleted, dispatch_uid="models_registry.gitapi", weak=False)
