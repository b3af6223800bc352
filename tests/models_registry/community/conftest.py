"""Fixtures of the tests of discussions, likes, collections and webhooks."""

import pytest

from tests.models_registry.community.receiver import receiver


@pytest.fixture
def here(settings):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    with receiver() as found:
        yield found
