from typing import Any

from django.apps import AppConfig


class CardsConfig(AppConfig):
    name = "models_registry.cards"

    def ready(self) -> None:
        from models_registry.cards.services import refresh
        from models_registry.repos.events import revision_published
        from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS

        def on_revision_published(
            sender: object, *, repository: Any, ref: str, oid: str, old_oid: str | None, **_: Any
        ) -> None:
            if ref == HEADS + DEFAULT_BRANCH:
                refresh(repository, oid, old_oid)

        revision_published.connect(on_revision_published, dispatch_uid="models_registry.cards", weak=False)
