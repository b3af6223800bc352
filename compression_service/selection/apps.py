from django.apps import AppConfig


class SelectionConfig(AppConfig):
    name = "compression_service.selection"

    def ready(self) -> None:
        from compression_service.selection.services import resolve_fit
        from models_registry.repos.revisions import register_resolver

        register_resolver(resolve_fit)
