from django.apps import AppConfig


class ScanningConfig(AppConfig):
    name = "models_registry.scanning"
