from django.apps import AppConfig


class RecipesConfig(AppConfig):
    name = "compression_service.recipes"

    def ready(self) -> None:
        from compression_service.recipes.wishes import problems
        from models_registry.cards.validation import register_check

        register_check("fithub.recipes", problems)
