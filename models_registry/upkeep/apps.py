from django.apps import AppConfig


class UpkeepConfig(AppConfig):
    name = "models_registry.upkeep"
