from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "models_registry.community.webhooks"

    def ready(self) -> None:
        from models_registry.community.webhooks import triggers

        triggers.connect()
