from django.apps import AppConfig


class VariantsConfig(AppConfig):
    name = "compression_service.variants"
