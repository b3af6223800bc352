from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "compression_service.devices"
