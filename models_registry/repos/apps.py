from django.apps import AppConfig


class ReposConfig(AppConfig):
    name = "models_registry.repos"
