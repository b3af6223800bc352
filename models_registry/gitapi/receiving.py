"""git-receive-pack over HTTP: commands and a pack in, the act of pushing, a report out (gitprotocol-pack)."""

import re
from collections.abc import Iterator

from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest, HubError
from models_registry.gitapi.pktlines import FLUSH, PACK, PROGRESS, Reader, band, line, read_lines
from models_registry.gitapi.references import NO_OID
from models_registry.gitapi.unpacking import unpacked
from models_registry.repos.models import GitObject, Repository
from models_registry.repos.pushes import Update, push

_COMMAND = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (\S+)")
_MOST_COMMANDS = 5000
_REASON_CHARACTERS = 400


class _Nothing:
    """What comes with a push which only deletes: no pack."""

    oversized: dict[str, int] = {}

    def kind(self, oid: str) -> int | None:
        return None

    def size(self, oid: str) -> int:
        raise KeyError(oid)

    def read(self, oid: str) -> bytes:
        raise KeyError(oid)


def answer(actor: Actor, repository: Repository, stream: Reader) -> Iterator[bytes]:
    """The body of the answer to `git-receive-pack`, when the push is decided."""
    updates, capabilities = _commands(stream)
    if not updates:
        return iter(())  # git asks whether it may push at all before it sends a large body
    failure, refusals = "", dict[str, str]()
    try:
        refusals = _push(actor, repository, updates, stream, capabilities)
    except HubError as error:
        failure = error.message
        refusals = {update.ref: failure for update in updates}
    return _report(failure, refusals, capabilities)


def _push(
    actor: Actor, repository: Repository, updates: list[Update], stream: Reader, capabilities: set[str]
) -> dict[str, str]:
    atomic = "atomic" in capabilities
    if all(update.new is None for update in updates):
        return push(actor, repository, updates, _Nothing(), atomic=atomic)

    def lookup(oid: str) -> tuple[int, bytes] | None:
        row = GitObject.objects.filter(repository=repository, oid=oid).values_list("kind", "data").first()
        return (row[0], bytes(row[1])) if row else None

    with unpacked(stream, lookup) as incoming:
        return push(actor, repository, updates, incoming, atomic=atomic)


def _commands(stream: Reader) -> tuple[list[Update], set[str]]:
    updates: list[Update] = []
    capabilities: set[str] = set()
    for raw in read_lines(stream):
        if raw is None:
            break
        command, _, extra = raw.partition(b"\0")
        if extra:
            capabilities = set(extra.decode("utf-8", "replace").split())
        text = command.decode("utf-8", "surrogateescape")
        if text.startswith("shallow "):
            continue
        match = _COMMAND.fullmatch(text)
        if not match:
            raise BadRequest("The hub takes git's plain push commands only.")
        old, new, ref = (match[1], match[2], match[3])
        updates.append(Update(ref, None if old == NO_OID else old, None if new == NO_OID else new))
        if len(updates) > _MOST_COMMANDS:
            raise BadRequest(f"A push moves at most {_MOST_COMMANDS:,} refs.")
    return updates, capabilities


def _report(failure: str, refusals: dict[str, str], capabilities: set[str]) -> Iterator[bytes]:
    """`report-status`, and each refusal as a message which git prints with "remote:" before it."""
    report = bytearray(line(f"unpack {_one_line(failure) or 'ok'}\n"))
    for ref, refusal in refusals.items():
        name = ref.encode("utf-8", "surrogateescape")
        report += line(b"ng " + name + f" {_one_line(refusal)}\n".encode() if refusal else b"ok " + name + b"\n")
    report += FLUSH
    if "side-band-64k" not in capabilities:
        if "report-status" in capabilities:
            yield bytes(report)
        return
    for sentence in dict.fromkeys(refusals.values()):
        if sentence:
            yield from band(PROGRESS, f"\n{sentence}\n\n".encode("utf-8", "replace"))
    if "report-status" in capabilities:
        yield from band(PACK, bytes(report))
    yield FLUSH


def _one_line(sentence: str) -> str:
    return " ".join(sentence.split()).encode("utf-8", "replace").decode()[:_REASON_CHARACTERS]
