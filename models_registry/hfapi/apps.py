from django.apps import AppConfig


class HfApiConfig(AppConfig):
    name = "models_registry.hfapi"
