from django.apps import AppConfig


class FitPagesConfig(AppConfig):
    name = "compression_service.pages"
    label = "fit_pages"

    def ready(self) -> None:
        from compression_service.pages import fit, ledger, progress, variants
        from models_registry.pages.sections import register_note, register_section, register_tab
        from models_registry.repos.models import RepoType

        for kind in (RepoType.MODEL, RepoType.DATASET):
            register_section(kind, 0, "progress", "", progress.section)
        register_section(RepoType.MODEL, 10, "fit", "Find the variant which fits", fit.section)
        register_section(RepoType.MODEL, 20, "variants", "Variants and what they cost", variants.section)
        register_section(RepoType.MODEL, 30, "ledger", "What making them cost, and what they save", ledger.section)
        register_tab("jobs", "Jobs")
        register_note(RepoType.MODEL, variants.note)
