from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "models_registry.datasets"
