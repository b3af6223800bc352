from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    name = "models_registry.community.collections"
    label = "collections"
