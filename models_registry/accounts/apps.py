from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "models_registry.accounts"
