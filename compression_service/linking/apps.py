from django.apps import AppConfig


class LinkingConfig(AppConfig):
    name = "compression_service.linking"
