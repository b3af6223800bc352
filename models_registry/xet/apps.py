from django.apps import AppConfig


class XetConfig(AppConfig):
    name = "models_registry.xet"

    def ready(self) -> None:
        from models_registry.storage.services import range_readers
        from models_registry.xet.services import read_xet_range

        range_readers["xet"] = read_xet_range
