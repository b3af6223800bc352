"""What the tests of webhooks share: making one, and sending all that is due."""

from models_registry.accounts.actors import Actor
from models_registry.community.webhooks import delivery, services

HOOK = "https://hooks.example/a"


def watch(user, url=HOOK, names=(("user", "alice"),), **more):
    watched = [services.WatchedName(*name) for name in names]
    return services.create_webhook(Actor(user), url, watched, origin="http://hub.example", **more)


def deliver():
    """Send all that is due, one after the other."""
    for key, _ in delivery.due(100):
        delivery.attempt(key)
