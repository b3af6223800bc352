from django.apps import AppConfig


class BucketsConfig(AppConfig):
    name = "models_registry.buckets"

    def ready(self) -> None:
        from models_registry.buckets.services import contents_of
        from models_registry.repos.roots import register_contents

        register_contents(contents_of)
