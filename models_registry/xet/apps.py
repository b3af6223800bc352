from django.apps import AppConfig


class XetConfig(AppConfig):
    name = "models_registry.xet"

    def ready(self) -> None:
        from models_registry.repos.events import repository_duplicated
        from models_registry.storage.services import range_readers
        from models_registry.xet.services import hold_copied_xorbs, read_xet_range

        range_readers["xet"] = read_xet_range
        repository_duplicated.connect(hold_copied_xorbs, dispatch_uid="models_registry.xet")
