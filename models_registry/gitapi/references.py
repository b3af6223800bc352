"""Which refs git is shown, and how they are written out for both services."""

from collections.abc import Iterator
from dataclasses import dataclass

from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest
from models_registry.gitapi.pktlines import FLUSH, line
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS, resolve_registered

# A clone takes heads and tags; the rest may be asked for by name (`git fetch origin refs/variants/int8-dynamic`).
SHOWN = (HEADS, TAGS, "refs/pr/", "refs/convert/", "refs/variants/")
MOST_ASKED_FOR = 16
NO_OID = "0" * 40
AGENT = "agent=fithub"
_FETCH = (
    "multi_ack multi_ack_detailed no-done side-band-64k thin-pack ofs-delta shallow deepen-since deepen-not "
    f"deepen-relative no-progress include-tag allow-tip-sha1-in-want allow-reachable-sha1-in-want filter "
    f"symref=HEAD:{HEADS}{DEFAULT_BRANCH} object-format=sha1 {AGENT}"
)
_PUSH = f"report-status delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 {AGENT}"


@dataclass(frozen=True)
class Shown:
    """A ref as git sees it: `oid` is the tag's own object for an annotated tag, and `peeled` then its commit."""

    name: str
    oid: str
    peeled: str = ""


def shown_refs(repository: Repository) -> list[Shown]:
    rows = Ref.objects.filter(repository=repository).order_by("name").values_list("name", "oid", "tag_oid")
    return [
        Shown(name, tag_oid or oid, oid if tag_oid else "")
        for name, oid, tag_oid in sorted(rows, key=lambda row: row[0].encode())
        if name.startswith(SHOWN)
    ]


def advertise(repository: Repository, service: str, version: int) -> Iterator[bytes]:
    """The answer to `info/refs`."""
    is_fetch = service == "git-upload-pack"
    if version == 2 and is_fetch:
        capabilities = [
            "version 2", AGENT, "ls-refs=unborn", "fetch=shallow wait-for-done filter", "object-format=sha1",
        ]  # fmt: skip
        yield b"".join(line(f"{text}\n") for text in capabilities) + FLUSH
        return
    yield line(f"# service={service}\n") + FLUSH
    if version == 1:
        yield line("version 1\n")
    yield from _lines(shown_refs(repository), _FETCH if is_fetch else _PUSH, with_head=is_fetch)


def _lines(refs: list[Shown], capabilities: str, *, with_head: bool) -> Iterator[bytes]:
    rows = [(ref.oid, ref.name) for ref in refs]
    head = next((ref.oid for ref in refs if ref.name == HEADS + DEFAULT_BRANCH), None)
    if with_head:
        peeled = {ref.name: ref.peeled for ref in refs if ref.peeled}
        rows = [row for oid, name in rows for row in ((oid, name), (peeled.get(name, ""), f"{name}^{{}}")) if row[0]]
        rows = ([(head, "HEAD")] if head else []) + rows
    if not rows:
        rows = [(NO_OID, "capabilities^{}")]
    for number, (oid, name) in enumerate(rows):
        extra = f"\0{capabilities}" if number == 0 else ""
        yield line(f"{oid} {name}{extra}\n")
    yield FLUSH


def _asked_for(actor: Actor, repository: Repository, prefixes: tuple[str, ...], known: set[str]) -> list[Shown]:
    """Revisions which other rooms resolve (`fit@…`), as tags: git asks for what it wants by each name it may have."""
    found: list[Shown] = []
    for name in dict.fromkeys(prefix for prefix in prefixes if prefix.startswith(TAGS) and prefix not in known):
        if (oid := resolve_registered(actor, repository, name.removeprefix(TAGS))) is not None:
            found.append(Shown(name, oid))
            if len(found) > MOST_ASKED_FOR:
                raise BadRequest(f"Ask for at most {MOST_ASKED_FOR} such revisions at a time.")
    return found


def list_refs(actor: Actor, repository: Repository, arguments: list[str]) -> Iterator[bytes]:
    """Protocol 2's `ls-refs`. Raises BadRequest, RevisionNotFound, before anything is yielded."""
    prefixes = tuple(text[11:] for text in arguments if text.startswith("ref-prefix "))
    peel, symrefs = "peel" in arguments, "symrefs" in arguments
    refs = shown_refs(repository)
    refs += _asked_for(actor, repository, prefixes, {ref.name for ref in refs})
    head = next((ref for ref in refs if ref.name == HEADS + DEFAULT_BRANCH), None)
    if head and (not prefixes or "HEAD".startswith(prefixes)):
        target = f" symref-target:{head.name}" if symrefs else ""
        yield line(f"{head.oid} HEAD{target}\n")
    for ref in refs:
        if not prefixes or ref.name.startswith(prefixes):
            peeled = f" peeled:{ref.peeled}" if peel and ref.peeled else ""
            yield line(f"{ref.oid} {ref.name}{peeled}\n")
    yield FLUSH
