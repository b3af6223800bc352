"""git-upload-pack over HTTP, protocols 0 to 2: each request stands alone, as gitprotocol-http says."""

import hashlib
from collections.abc import Iterator

from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest, HubError
from models_registry.gitapi import packs
from models_registry.gitapi.pktlines import DELIMITER, FLUSH, PACK, PROGRESS, Reader, band, line, read_lines
from models_registry.gitapi.references import list_refs, shown_refs
from models_registry.gitapi.wanted import (
    Asked,
    Boundary,
    Start,
    begin,
    boundary,
    known_commits,
    objects_to_send,
    reaches,
)
from models_registry.repos.history import graph_of
from models_registry.repos.models import Repository


def answer(actor: Actor, repository: Repository, stream: Reader, version: int) -> Iterator[bytes]:
    """The body of the answer to `git-upload-pack`. A refusal is git's own `ERR` line, which git prints."""
    try:
        yield from _version_2(actor, repository, stream) if version == 2 else _version_0(repository, stream)
    except HubError as error:
        yield line(f"ERR {error.message}")


# --- protocol 2 --------------------------------------------------------------------------------------------------
def _version_2(actor: Actor, repository: Repository, stream: Reader) -> Iterator[bytes]:
    command, arguments, in_arguments = "", [], False
    for text in _texts(stream):
        if text is None:
            break
        if text == "\1":
            in_arguments = True
        elif in_arguments:
            arguments.append(text)
        elif text.startswith("command="):
            command = text[8:]
        elif text.startswith("object-format=") and text != "object-format=sha1":
            raise BadRequest("This hub's objects are named by sha1.")
    if command == "ls-refs":
        yield from list_refs(actor, repository, arguments)
    elif command == "fetch":
        asked = Asked()
        for argument in arguments:
            asked.take(argument)
        yield from _fetch_2(repository, asked)
    elif command:
        raise BadRequest(f"This hub has no command {command[:40]!r}.")


def _fetch_2(repository: Repository, asked: Asked) -> Iterator[bytes]:
    if not asked.wants:
        return
    start = begin(repository, asked)
    common = known_commits(repository, asked.haves)
    if asked.haves and not asked.done:
        yield line("acknowledgments\n")
        yield from (line(f"ACK {oid}\n") for oid in asked.haves if oid in common)
        if not common:
            yield line("NAK\n")
        if "wait-for-done" in asked.options or not common or not reaches(graph_of(repository), start.commits, common):
            yield FLUSH
            return
        yield line("ready\n") + DELIMITER
    limits = boundary(repository, asked, start)
    if limits.shallow or limits.unshallow or asked.deepens:
        yield line("shallow-info\n")
        yield from _shallow_lines(limits)
        yield DELIMITER
    yield line("packfile\n")
    yield from _banded(repository, asked, start, limits, common)
    yield FLUSH


# --- protocols 0 and 1 -------------------------------------------------------------------------------------------
def _version_0(repository: Repository, stream: Reader) -> Iterator[bytes]:
    asked, texts = Asked(), _texts(stream)
    for text in texts:
        if text is None:
            break
        words = text.split(" ")
        if words[0] == "want" and not asked.wants:
            # The first line carries the capabilities.
            asked.options |= set(words[2:])
            text = " ".join(words[:2])
        asked.take(text)
    if not asked.wants:
        return
    start = begin(repository, asked)
    limits = boundary(repository, asked, start)
    if asked.deepens:
        yield from _shallow_lines(limits)
        yield FLUSH
    rounds = list(texts)
    if not rounds:
        return  # a client which deepens reads this list first, and asks again with what it has
    negotiation = _Negotiation(repository, asked, start)
    yield from negotiation.replies(rounds)
    if not negotiation.agreed:
        return
    if "side-band-64k" in asked.options:
        yield from _banded(repository, asked, start, limits, negotiation.common)
        yield FLUSH
    else:
        yield from _packed(repository, asked, start, limits, negotiation.common)[1]


class _Negotiation:
    """What upload-pack answers to `have` lines, line by line (gitprotocol-pack, "Packfile Negotiation")."""

    def __init__(self, repository: Repository, asked: Asked, start: Start) -> None:
        self.repository, self.asked, self.start = repository, asked, start
        self.common: set[str] = set()
        self.agreed = False
        self.detailed = "multi_ack_detailed" in asked.options
        self.multi = self.detailed or "multi_ack" in asked.options
        self._enough: bool | None = False

    def replies(self, rounds: list[str | None]) -> Iterator[bytes]:
        for text in rounds:
            if text is not None:
                self.asked.take(text)
        here = known_commits(self.repository, self.asked.haves)
        last, ready, got_common, got_other = "", False, False, False
        for text in rounds:
            if text is None:
                if self.detailed and got_common and not got_other and self._is_enough():
                    ready = True
                    yield line(f"ACK {last} ready\n")
                if not self.common or self.multi:
                    yield line("NAK\n")
                if ready and "no-done" in self.asked.options:
                    yield line(f"ACK {last}\n")
                    self.agreed = True
                    return
                got_common = got_other = False
            elif text.startswith("have "):
                oid = text[5:45]
                if oid in here:
                    got_common, last = True, oid
                    first = not self.common
                    self.common.add(oid)
                    self._enough = None
                    if self.multi:
                        yield line(f"ACK {oid} {'common' if self.detailed else 'continue'}\n")
                    elif first:
                        yield line(f"ACK {oid}\n")
                else:
                    got_other = True
                    if self.multi and self._is_enough():
                        ready = ready or self.detailed
                        yield line(f"ACK {oid} {'ready' if self.detailed else 'continue'}\n")
            elif text == "done":
                if not self.common:
                    yield line("NAK\n")
                elif self.multi:
                    yield line(f"ACK {last}\n")
                self.agreed = True
                return

    def _is_enough(self) -> bool:
        if self._enough is None:
            self._enough = reaches(graph_of(self.repository), self.start.commits, self.common)
        return self._enough


# --- both --------------------------------------------------------------------------------------------------------
def _texts(stream: Reader) -> Iterator[str | None]:
    for raw in read_lines(stream):
        yield None if raw is None else raw.decode("utf-8", "replace")


def _shallow_lines(limits: Boundary) -> Iterator[bytes]:
    yield from (line(f"shallow {oid}\n") for oid in limits.shallow)
    yield from (line(f"unshallow {oid}\n") for oid in limits.unshallow)


def _banded(repository: Repository, asked: Asked, start: Start, limits: Boundary, common: set[str]) -> Iterator[bytes]:
    count, blocks = _packed(repository, asked, start, limits, common)
    if "no-progress" not in asked.options and count is not None:
        yield from band(PROGRESS, f"Sending {count:,} objects.\n".encode())
    for block in blocks:
        yield from band(PACK, block)


def _packed(
    repository: Repository, asked: Asked, start: Start, limits: Boundary, common: set[str]
) -> tuple[int | None, Iterator[bytes]]:
    """(number of objects where it was counted, the pack). What a whole clone takes is kept for the next one."""
    key = ""
    if not common and not asked.shallows:
        tags = _tags_digest(repository) if "include-tag" in asked.options else ""
        cut = sorted(limits.cut)
        what = [*sorted([*start.commits, *start.trees, *start.blobs]), "tags", *start.tags, tags, "cut", *cut]
        key = packs.key_of(repository, [*what, asked.filter])
        path = packs.kept(key)
        if path is not None:
            return None, packs.read_kept(path)
    objects = objects_to_send(repository, asked, start, limits, common)
    blocks = packs.pack(repository, objects)
    return len(objects), packs.keep(key, blocks, len(objects)) if key else blocks


def _tags_digest(repository: Repository) -> str:
    text = " ".join(ref.oid for ref in shown_refs(repository) if ref.peeled)
    return hashlib.sha256(text.encode()).hexdigest()
