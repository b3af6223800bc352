from django.apps import AppConfig


class DiscussionsConfig(AppConfig):
    name = "models_registry.community.discussions"
