from django.apps import AppConfig


class StorageConfig(AppConfig):
    name = "models_registry.storage"
