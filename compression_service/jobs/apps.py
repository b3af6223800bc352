from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "compression_service.jobs"

    def ready(self) -> None:
        from compression_service.jobs import triggers
        from compression_service.jobs.services import commits_in_hand
        from models_registry.repos.roots import register_pins

        triggers.connect()
        register_pins(commits_in_hand)
