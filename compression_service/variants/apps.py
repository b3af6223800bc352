from django.apps import AppConfig


class VariantsConfig(AppConfig):
    name = "compression_service.variants"

    def ready(self) -> None:
        from compression_service.variants.datasets import problems
        from models_registry.cards.validation import register_check

        register_check("fithub.data", problems)
