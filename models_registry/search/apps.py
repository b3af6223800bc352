from typing import Any

from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "models_registry.search"

    def ready(self) -> None:
        from models_registry.repos.events import repository_deleted, repository_moved, repository_settings_changed
        from models_registry.search import index, tag_uses

        def on_moved(sender: object, *, repository: Any, **_: Any) -> None:
            index.put(repository)

        def on_settings(sender: object, *, repository: Any, changes: dict[str, Any], **_: Any) -> None:
            if changes.get("private", repository.private) != repository.private:
                tag_uses.visibility_changed(repository)

        def on_deleted(sender: object, *, repository: Any, **_: Any) -> None:
            tag_uses.forget(repository)

        repository_moved.connect(on_moved, dispatch_uid="models_registry.search", weak=False)
        repository_settings_changed.connect(on_settings, dispatch_uid="models_registry.search", weak=False)
        repository_deleted.connect(on_deleted, dispatch_uid="models_registry.search", weak=False)
