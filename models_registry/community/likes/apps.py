from typing import Any

from django.apps import AppConfig


class LikesConfig(AppConfig):
    name = "models_registry.community.likes"

    def ready(self) -> None:
        from django.db.models.signals import pre_delete

        from models_registry.accounts.models import User
        from models_registry.community.likes.services import forget_likes_of

        def before_user_deleted(sender: object, *, instance: User, **_: Any) -> None:
            forget_likes_of(instance)

        pre_delete.connect(before_user_deleted, sender=User, dispatch_uid="models_registry.community.likes", weak=False)
