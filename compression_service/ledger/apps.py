from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "compression_service.ledger"

    def ready(self) -> None:
        from compression_service.ledger.pulls import on_file_downloaded
        from compression_service.ledger.pushes import on_files_registered, on_xorb_received
        from models_registry.repos.events import file_downloaded
        from models_registry.xet.events import files_registered, xorb_received

        for signal, receiver in (
            (file_downloaded, on_file_downloaded),
            (xorb_received, on_xorb_received),
            (files_registered, on_files_registered),
        ):
            signal.connect(receiver, dispatch_uid=f"compression_service.ledger.{receiver.__name__}")
