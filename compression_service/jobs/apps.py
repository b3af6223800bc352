from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "compression_service.jobs"

    def ready(self) -> None:
        from compression_service.jobs import triggers

        triggers.connect()
