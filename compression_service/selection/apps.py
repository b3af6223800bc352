from django.apps import AppConfig


class SelectionConfig(AppConfig):
    name = "compression_service.selection"

    def ready(self) -> None:
        from compression_service.selection.across import fits_filter
        from compression_service.selection.offers import refresh_offers
        from compression_service.selection.services import resolve_fit
        from compression_service.variants.events import catalogue_changed
        from models_registry.repos.models import RepoType
        from models_registry.repos.revisions import register_resolver
        from models_registry.search.extensions import register_filter

        register_resolver(resolve_fit)
        register_filter(RepoType.MODEL, fits_filter())
        catalogue_changed.connect(
            lambda sender, repository, **_: refresh_offers(repository), dispatch_uid="selection", weak=False
        )
