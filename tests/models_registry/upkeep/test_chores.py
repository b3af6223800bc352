"""Upkeep by itself: each chore when it is due, once for all machines."""

from datetime import timedelta

from django.core.management import call_command
from django.utils import timezone

from models_registry.storage.models import Blob
from models_registry.upkeep.chores import do_what_is_due
from models_registry.upkeep.models import Chore
from tests.factories import store


def test_chores_are_done_when_they_are_due_and_once(model, settings):
    settings.GARBAGE_DAYS = 0
    store(model, b"waiting")
    now = timezone.now()
    assert do_what_is_due(now) == [], "a new hub has nothing to collect"
    assert do_what_is_due(now + timedelta(hours=1)) == ["verify", "chunk"]
    assert Blob.objects.get().verified_at is not None
    assert do_what_is_due(now + timedelta(hours=1)) == []
    assert do_what_is_due(now + timedelta(days=1)) == ["collect_garbage", "verify", "chunk"]
    do_what_is_due(now + timedelta(days=2))
    assert not Blob.objects.exists()
    Chore.objects.update(done_at=now - timedelta(days=9))
    call_command("run_upkeep", "--once")
    assert Chore.objects.filter(done_at__gte=now).count() == 3
