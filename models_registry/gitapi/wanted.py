"""From what a client wants and has to the objects which it is sent, shallow histories and filters included."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dulwich.objects import Tag

from models_registry.errors import BadRequest
from models_registry.gitapi.references import shown_refs
from models_registry.repos.closure import kinds_of, objects_of, trees_below
from models_registry.repos.git_objects import BLOB, COMMIT, TAG, TREE
from models_registry.repos.history import Graph, graph_of
from models_registry.repos.models import GitObject, Ref, Repository
from models_registry.repos.revisions import HEADS, TAGS

OID = re.compile(r"[0-9a-f]{40}")
INFINITE_DEPTH = 0x7FFFFFFF
_TAG_DEPTH = 8
_KNOWN_TREES = 8  # of the client's, beside which a shallow commit's tree is compared
_LIMIT = re.compile(r"blob:limit=(\d{1,12})([kmg]?)")


@dataclass
class Asked:
    """A fetch request's lines (gitprotocol-pack, gitprotocol-v2), already checked one by one."""

    wants: list[str] = field(default_factory=list)
    haves: list[str] = field(default_factory=list)
    shallows: set[str] = field(default_factory=set)
    depth: int = 0
    since: int | None = None
    not_refs: list[str] = field(default_factory=list)
    options: set[str] = field(default_factory=set)
    filter: str = ""
    done: bool = False

    @property
    def deepens(self) -> bool:
        return bool(self.depth or self.since is not None or self.not_refs)

    def take(self, text: str) -> None:
        """Raises BadRequest for a line which no client sends."""
        word, _, rest = text.partition(" ")
        if word in ("want", "have", "shallow") and OID.fullmatch(rest[:40]):
            {"want": self.wants.append, "have": self.haves.append, "shallow": self.shallows.add}[word](rest[:40])
        elif word in ("deepen", "deepen-since") and rest.isdecimal() and len(rest) < 15:
            if word == "deepen":
                self.depth = int(rest)
            else:
                self.since = int(rest)
        elif word == "deepen-not" and rest:
            self.not_refs.append(rest)
        elif word == "filter" and (rest == "blob:none" or _LIMIT.fullmatch(rest)):
            self.filter = rest
        elif word == "filter":
            raise BadRequest(f"This hub filters by blob:none and blob:limit, not by {rest[:60]!r}.")
        elif word == "done":
            self.done = True
        elif not rest:
            self.options.add(word)
        else:
            raise BadRequest(f"The hub does not understand {text[:80]!r} in a fetch.")


@dataclass(frozen=True)
class Start:
    """The wants, sorted by what they are; tags are followed to what they name."""

    commits: list[str]
    trees: list[str]
    blobs: list[str]
    tags: list[str]


def begin(repository: Repository, asked: Asked) -> Start:
    """Raises BadRequest naming the want which this repository does not hold."""
    kinds = kinds_of(repository, asked.wants)
    found: dict[int, dict[str, None]] = {COMMIT: {}, TREE: {}, BLOB: {}, TAG: {}}
    for want in asked.wants:
        if want not in kinds:
            raise BadRequest(f"upload-pack: not our ref {want}")
        oid, kind = want, kinds[want][0]
        for _ in range(_TAG_DEPTH):
            found[kind][oid] = None
            if kind != TAG:
                break
            oid, kind = _target(repository, oid)
    return Start(list(found[COMMIT]), list(found[TREE]), list(found[BLOB]), list(found[TAG]))


def _target(repository: Repository, oid: str) -> tuple[str, int]:
    data = bytes(GitObject.objects.values_list("data", flat=True).get(repository=repository, oid=oid, kind=TAG))
    tag = Tag.from_string(data)
    assert isinstance(tag, Tag)
    kind, target = tag.object
    return target.decode(), kind.type_num


def known_commits(repository: Repository, oids: Iterable[str]) -> set[str]:
    """Those which are commits of this repository."""
    return {oid for oid, (kind, _) in kinds_of(repository, oids).items() if kind == COMMIT}


def walk(graph: Graph, heads: Iterable[str], cut: set[str]) -> set[str]:
    """`heads` and their ancestors, not behind the commits at which the history is cut."""
    found: set[str] = set()
    stack = list(heads)
    while stack:
        oid = stack.pop()
        if oid not in found and (node := graph.get(oid)) is not None:
            found.add(oid)
            if oid not in cut:
                stack.extend(node.parents)
    return found


def reaches(graph: Graph, starts: Iterable[str], common: set[str]) -> bool:
    """Whether every start has one of `common` among its ancestors: then the client needs to say no more."""
    barren: set[str] = set()  # walked without finding one
    for start in starts:
        stack, mine, found = [start], set[str](), False
        while stack:
            oid = stack.pop()
            if oid in common:
                found = True
                break
            if oid in mine or oid in barren or (node := graph.get(oid)) is None:
                continue
            mine.add(oid)
            stack.extend(node.parents)
        if not found:
            return False
    return True


@dataclass(frozen=True)
class Boundary:
    """Where a shallow history ends for the client from now on, and what to tell it of the change."""

    cut: set[str]
    shallow: list[str]
    unshallow: list[str]


def boundary(repository: Repository, asked: Asked, start: Start) -> Boundary:
    graph = graph_of(repository)
    if not asked.deepens:
        return Boundary(known_commits(repository, asked.shallows), [], [])
    heads, depth = start.commits, asked.depth
    client = known_commits(repository, asked.shallows)
    if "deepen-relative" in asked.options and asked.depth:
        heads, depth = sorted(client & walk(graph, start.commits, set())), asked.depth + 1
    if asked.depth:
        seen, cut = _to_depth(graph, heads, depth)
    else:
        seen = _selected(repository, graph, asked, heads)
        if not seen:
            raise BadRequest("No commits are left with this --shallow-since or --shallow-exclude.")
        cut = {oid for oid in seen if any(parent not in seen for parent in graph[oid].parents)}
    return Boundary(cut, sorted(cut - client), sorted((client & seen) - cut))


def _to_depth(graph: Graph, heads: Iterable[str], depth: int) -> tuple[set[str], set[str]]:
    seen = set(heads)
    if depth >= INFINITE_DEPTH:
        return walk(graph, seen, set()), set()
    level = set(seen)
    for _ in range(depth - 1):
        level = {parent for oid in level for parent in graph[oid].parents if graph.get(parent)} - seen
        if not level:
            return seen, set()
        seen |= level
    return seen, {oid for oid in level if graph[oid].parents}


def _selected(repository: Repository, graph: Graph, asked: Asked, heads: Iterable[str]) -> set[str]:
    since = asked.since or 0
    names = {name for text in asked.not_refs for name in (text, HEADS + text, TAGS + text)}
    excluded = walk(
        graph, Ref.objects.filter(repository=repository, name__in=names).values_list("oid", flat=True), set()
    )
    seen: set[str] = set()
    stack = list(heads)
    while stack:
        oid = stack.pop()
        if oid not in seen and oid not in excluded and graph[oid].time_s >= since:
            seen.add(oid)
            stack.extend(graph[oid].parents)
    return seen


def objects_to_send(
    repository: Repository, asked: Asked, start: Start, limits: Boundary, common: set[str]
) -> list[tuple[str, int]]:
    """(oid, size in bytes) of everything which the pack holds: tags and commits first. Raises BadRequest."""
    graph = graph_of(repository)
    there = walk(graph, common, known_commits(repository, asked.shallows))
    commits = sorted(walk(graph, start.commits, limits.cut) - there, key=lambda oid: -graph[oid].time_s)
    sent = set(commits)
    cut = {oid for oid in commits if any(parent not in sent and parent not in there for parent in graph[oid].parents)}
    known = tuple(dict.fromkeys(graph[oid].tree for oid in sorted(common)[:_KNOWN_TREES])) if cut else ()
    found = dict.fromkeys([*start.tags, *commits])
    try:
        below = dict(objects_of(repository, graph, commits, frozenset(cut), known))
        seen = set(below)
        for tree in start.trees:
            below[tree] = True
            below.update(trees_below(repository, [(tree, ())], seen))
    except KeyError as error:
        raise BadRequest(f"The folder {error} is missing from the database: ask the hub's administrator.") from error
    if asked.filter == "blob:none":
        below = {oid: is_tree for oid, is_tree in below.items() if is_tree}
    found |= dict.fromkeys([*below, *start.blobs])
    if "include-tag" in asked.options:
        found |= dict.fromkeys(_tags_of(repository, sent))
    sizes = kinds_of(repository, found)
    if len(sizes) != len(found):
        raise BadRequest("An object of this history is missing from the database: ask the hub's administrator.")
    if match := _LIMIT.fullmatch(asked.filter):
        most = int(match[1]) * {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[match[2]]
        dropped = {oid for oid in found if sizes[oid][0] == BLOB and sizes[oid][1] >= most} - set(start.blobs)
        found = {oid: None for oid in found if oid not in dropped}
    return [(oid, sizes[oid][1]) for oid in found]


def _tags_of(repository: Repository, commits: set[str]) -> list[str]:
    """The objects of annotated tags whose commits are sent."""
    found = []
    for ref in shown_refs(repository):
        oid, kind = ref.oid, TAG
        while ref.peeled in commits and kind == TAG:
            found.append(oid)
            oid, kind = _target(repository, oid)
    return found
