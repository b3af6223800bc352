"""Whatever people do, in whatever order, a collection never takes what a ref, a grace or an upload still needs."""

import hashlib
import io
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from models_registry.accounts.actors import Actor
from models_registry.errors import HubError
from models_registry.repos import git_objects, history
from models_registry.repos.commits import AddContent, AddFile, Delete, commit
from models_registry.repos.contents import delete_contents, grant_contents
from models_registry.repos.duplicating import duplicate_repository
from models_registry.repos.models import GitObject, Ref, Repository, RepoType
from models_registry.repos.revisions import HEADS
from models_registry.repos.services import (
    create_branch,
    create_tag,
    delete_branch,
    delete_repository,
    delete_tag,
    grant_blob,
)
from models_registry.repos.squash import squash
from models_registry.storage.models import Blob
from models_registry.storage.services import take_in
from models_registry.upkeep.garbage import Grace, collect
from tests.factories import make_repository, make_user
from tests.models_registry.upkeep.checks import expect_whole

GRACE = Grace(days=7, xorb_days=28)
SMALL = st.integers(0, 4)


class Life(RuleBasedStateMachine):
    """A few repositories of one person. `self.now` runs ahead of the clock; rows are aged instead of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.scope = transaction.atomic()
        self.scope.__enter__()
        git_objects._trees = git_objects._Cache(2048)
        git_objects._commits = git_objects._Cache(2048)
        history.forget()
        self.actor = Actor(make_user("ann"))
        self.repositories = [make_repository(self.actor.user, "r0", RepoType.SPACE)]
        self.left: dict[tuple[int, str], int] = {}  # commits without a ref since the last look → days which passed
        self.sent: dict[tuple[int, str], int] = {}  # contents sent → days which passed
        self.names = 0

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.scope.__exit__(None, None, None)

    def pick(self, number: int) -> Repository:
        return self.repositories[number % len(self.repositories)]

    def act(self, call, *arguments, **options):  # what the hub refuses is no matter here
        try:
            with transaction.atomic():
                return call(*arguments, **options)
        except HubError:
            return None

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, file=SMALL, content=SMALL, branch=st.sampled_from(["main", "main", "side"]))
    def push(self, which, file, content, branch):
        repository, data = self.pick(which), f"content {content}".encode()
        sha256 = hashlib.sha256(data).hexdigest()
        grant_blob(repository, take_in(io.BytesIO(data), sha256, len(data)))
        self.sent[repository.pk, sha256] = 0
        operations = [AddContent(f"d{file % 2}/{file}.bin", sha256), AddFile(f"t{content}/x.txt", data)]
        self.act(commit, self.actor, repository, branch, operations, f"c {file} {content}")

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, content=SMALL)
    def send_only(self, which, content):
        repository, data = self.pick(which), f"content {content}".encode()
        sha256 = hashlib.sha256(data).hexdigest()
        grant_blob(repository, take_in(io.BytesIO(data), sha256, len(data)))
        self.sent[repository.pk, sha256] = 0

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, file=SMALL)
    def remove_a_file(self, which, file):
        self.act(commit, self.actor, self.pick(which), "main", [Delete(f"d{file % 2}/{file}.bin")], "remove")

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, name=st.sampled_from(["side", "other"]), back=SMALL)
    def branch(self, which, name, back):
        repository = self.pick(which)
        commits = list(GitObject.objects.filter(repository=repository, kind=git_objects.COMMIT).order_by("pk"))
        start = commits[-1 - back % len(commits)].oid
        self.act(create_branch, self.actor, repository, name, start, overwrite=bool(back % 2))

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, name=st.sampled_from(["side", "other"]), as_tag=st.booleans())
    def unbranch(self, which, name, as_tag):
        repository = self.pick(which)
        if as_tag:
            if not self.act(delete_tag, self.actor, repository, name):
                self.act(create_tag, self.actor, repository, name, "main")
        else:
            self.act(delete_branch, self.actor, repository, name)

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL)
    def squash(self, which):
        self.act(squash, self.actor, self.pick(which), "main")

    @precondition(lambda self: self.repositories)
    @rule(which=SMALL, content=SMALL, rewrite=st.booleans())
    def delete_for_good(self, which, content, rewrite):
        sha256 = hashlib.sha256(f"content {content}".encode()).hexdigest()
        repository = self.pick(which)
        self.act(delete_contents, self.actor, repository, [sha256], rewrite_history=rewrite)
        self.sent.pop((repository.pk, sha256), None)

    @precondition(lambda self: 0 < len(self.repositories) < 4)
    @rule(which=SMALL)
    def duplicate(self, which):
        self.names += 1
        made = self.act(duplicate_repository, self.actor, self.pick(which), f"copy-{self.names}", hub="")
        if made is not None:
            self.repositories.append(made)

    @precondition(lambda self: len(self.repositories) > 1)
    @rule(which=SMALL)
    def delete(self, which):
        gone = self.repositories.pop(which % len(self.repositories))
        self.sent = {key: days for key, days in self.sent.items() if key[0] != gone.pk}
        delete_repository(self.actor, gone)

    @precondition(lambda self: len(self.repositories) > 1)
    @rule(source=SMALL, into=SMALL, content=SMALL)
    def grant(self, source, into, content):
        sha256 = hashlib.sha256(f"content {content}".encode()).hexdigest()
        target = self.pick(into)
        failed = self.act(grant_contents, self.actor, self.pick(source), target, [sha256])
        if failed == {}:
            self.sent[target.pk, sha256] = 0

    @rule(days=st.integers(0, 9))
    def let_days_pass_and_collect(self, days):
        """Rows become older by some days; what was within its grace before must be there after."""
        self.age(timedelta(days=days))
        self.sent = {key: passed + days for key, passed in self.sent.items()}
        fresh = {}
        for repository in self.repositories:
            young = repository.abandoned_rows.filter(seen_at__gte=timezone.now() - timedelta(days=7))
            fresh[repository.pk] = set(young.values_list("oid", flat=True))
        unreached = {repository.pk: self.unreached(repository) for repository in self.repositories}
        planned = collect(GRACE, dry_run=True)
        assert collect(GRACE) == planned
        for repository in self.repositories:
            for oid in fresh[repository.pk] | unreached[repository.pk]:
                assert GitObject.objects.filter(repository=repository, oid=oid).exists(), "within its grace"
        for (_pk, sha256), passed in self.sent.items():
            assert passed >= 7 or Blob.objects.filter(pk=sha256, is_whole=True).exists(), "sent within the grace"

    def age(self, by):
        from django.db.models import F

        from models_registry.repos.models import Abandoned, RepositoryBlob

        Abandoned.objects.update(seen_at=F("seen_at") - by)
        RepositoryBlob.objects.update(used_at=F("used_at") - by)
        Blob.objects.update(used_at=F("used_at") - by)

    def unreached(self, repository) -> set[str]:
        """Heads which refs left since the last collection: their grace has not begun."""
        kept = set(repository.abandoned_rows.values_list("oid", flat=True))
        from models_registry.repos.closure import reachable
        from models_registry.repos.roots import roots_of

        commits = GitObject.objects.filter(repository=repository, kind=git_objects.COMMIT)
        everything = set(commits.values_list("oid", flat=True))
        return everything - reachable(repository, roots_of(repository)) - reachable(repository, kept)

    @invariant()
    def all_that_is_named_is_whole(self):
        for repository in self.repositories:
            assert Ref.objects.filter(repository=repository, name=HEADS + "main").exists()
            expect_whole(repository)


@pytest.mark.django_db
def test_nothing_reachable_is_ever_taken():
    checks = settings(
        max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    run_state_machine_as_test(Life, settings=checks)
