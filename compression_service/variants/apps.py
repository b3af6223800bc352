from django.apps import AppConfig


class VariantsConfig(AppConfig):
    name = "compression_service.variants"

    def ready(self) -> None:
        from compression_service.variants.datasets import problems
        from compression_service.variants.pins import pins
        from models_registry.cards.validation import register_check
        from models_registry.repos.roots import register_pins

        register_check("fithub.data", problems)
        register_pins(pins)
