from django.apps import AppConfig


class PagesConfig(AppConfig):
    name = "models_registry.pages"

    def ready(self) -> None:
        from models_registry.pages import rows
        from models_registry.pages.sections import register_section, register_tab
        from models_registry.repos.models import RepoType

        register_section(RepoType.DATASET, 20, "rows", "First rows", rows.section)
        register_tab("discussions", "Community")
