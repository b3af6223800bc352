"""Merging trees: git's own answer for random trees, laws, and each kind of conflict. Where histories part."""

import subprocess

import pytest
from dulwich.objects import Blob
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_registry.repos import git_objects as git
from models_registry.repos.git_objects import TreeItem
from models_registry.repos.merges import MAX_TEXTS, History, merge_trees

# The machine may be busy with other things.
LAWS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
NAMES = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "f/a"]
BODIES = [b"", b"1\n2\n3\n4\n5\n6\n", b"one\n2\n3\n4\n5\n6\n", b"1\n2\n3\n4\n5\nsix\n", b"\0binary\n", b"\0other\n"]


class Memory:
    """Objects in memory; trees are built from {path: bytes}."""

    def __init__(self):
        self._trees, self._blobs, self.reads = {}, {}, 0

    def trees(self, oids):
        self.reads += 1
        return {oid: self._trees[oid] for oid in oids}

    def text(self, oid):
        return self._blobs[oid]

    def put(self, files):
        items, below = {}, {}
        for path, data in files.items():
            first, _, rest = path.partition("/")
            if rest:
                below.setdefault(first, {})[rest] = data
            else:
                blob = Blob.from_string(data)
                self._blobs[blob.id.decode()] = data
                items[first] = TreeItem(first, git.FILE_MODE, blob.id.decode())
        for name, inside in below.items():
            items[name] = TreeItem(name, git.FOLDER_MODE, self.put(inside))
        tree = git.make_tree(items.values())
        self._trees[tree.id.decode()] = items
        return tree.id.decode()

    def files(self, merged, oid=None, prefix=""):
        for made in merged.objects:
            if isinstance(made, Blob):
                self._blobs[made.id.decode()] = made.as_raw_string()
            else:
                self._trees[made.id.decode()] = git.parse_tree(made.as_raw_string())
        found = {}
        for item in self._trees[oid or merged.tree].values() if oid or merged.tree else []:
            if item.is_folder:
                found |= self.files(merged, item.oid, f"{prefix}{item.name}/")
            else:
                found[prefix + item.name] = self._blobs[item.oid]
        return found


def without_clashes(files):
    """No name is a file and a folder at once."""
    return {path: data for path, data in files.items() if not any(other.startswith(path + "/") for other in files)}


def of_their_own(files):
    """Each path's lines are its own: git's merge looks for renamed files, ours does not."""
    return {path: data.replace(b"\n", b" %s\n" % (path.encode() * 9)) for path, data in files.items()}


TREES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(BODIES), max_size=6).map(without_clashes)


def merged(base, ours, theirs):
    memory = Memory()
    done = merge_trees(memory, memory.put(base), memory.put(ours), memory.put(theirs))
    return (None, done.conflicts) if done.conflicts else (memory.files(done), [])


@pytest.fixture(scope="module")
def git_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", "--bare", "."], cwd=folder, check=True)
    return folder


def gits_merge(folder, base, ours, theirs):
    """{path: bytes} by `git merge-tree`, None when it reports a conflict."""
    lines = []
    for number, files in enumerate((base, ours, theirs), 1):
        lines += [b"commit refs/heads/c%d\nmark :%d\ncommitter x <x@x> 0 +0000\ndata 0\n" % (number, number)]
        if number > 1:
            lines.append(b"from :1\n")
        lines.append(b"deleteall\n")
        for path, data in files.items():
            lines.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))
    run = lambda *words, **more: subprocess.run(["git", *words], cwd=folder, capture_output=True, **more)  # noqa: E731
    assert run("fast-import", "--force", "--quiet", input=b"".join(lines)).returncode == 0
    done = run("merge-tree", "--write-tree", "c2", "c3")
    if done.returncode:
        assert done.returncode == 1, done.stderr
        return None
    listed = run("ls-tree", "-r", "-z", done.stdout.split()[0].decode()).stdout
    rows = [row.partition(b"\t") for row in listed.split(b"\0") if row]
    return {path.decode(): run("cat-file", "blob", about.split()[2].decode()).stdout for about, _, path in rows}


@settings(LAWS, max_examples=80)
@given(TREES, TREES, TREES)
def test_a_merge_is_gits_merge(git_folder, base, ours, theirs):
    base, ours, theirs = of_their_own(base), of_their_own(ours), of_their_own(theirs)
    assert merged(base, ours, theirs)[0] == gits_merge(git_folder, base, ours, theirs)


@LAWS
@given(TREES, TREES)
def test_one_side_alone_is_taken_over(base, other):
    assert merged(base, other, base)[0] == other == merged(base, base, other)[0] == merged(base, other, other)[0]


@LAWS
@given(TREES, TREES, TREES)
def test_the_sides_are_alike_and_nothing_is_invented(base, ours, theirs):
    files, conflicts = merged(base, ours, theirs)
    assert merged(base, theirs, ours) == (files, conflicts)
    changed_here = {path for path in {*base, *ours} if base.get(path) != ours.get(path)}
    changed_there = {path for path in {*base, *theirs} if base.get(path) != theirs.get(path)}
    if files is None:
        assert conflicts == sorted(set(conflicts)) or len(set(conflicts)) == len(conflicts)
        return
    # What only one side changed is as that side has it; what nobody changed is as it was.
    for path in {*base, *ours, *theirs} - (changed_here & changed_there):
        side = ours if path in changed_here else theirs
        assert files.get(path) == side.get(path)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "conflicts"),
    [
        ({"a": b"1"}, {"a": b"2"}, {"a": b"3"}, ["a"]),  # both changed
        ({"a": b"1"}, {"a": b"2"}, {}, ["a"]),  # changed and removed
        ({}, {"a": b"1"}, {"a": b"2"}, ["a"]),  # both added
        ({}, {"a": b"1"}, {"a/b": b"1"}, ["a"]),  # a file and a folder
        ({"d/a": b"1", "d/b": b"1"}, {"d/a": b"2", "d/b": b"2"}, {"d": b"file"}, ["d/a", "d/b"]),
        ({"a": b"\0" + b"1"}, {"a": b"\0" + b"2"}, {"a": b"\0" + b"3"}, ["a"]),  # not by lines
    ],
)
def test_conflicts_are_named(base, ours, theirs, conflicts):
    assert merged(base, ours, theirs) == (None, conflicts)


def test_both_sides_lines_come_together():
    files, _ = merged({"d/a": BODIES[1], "x": b""}, {"d/a": BODIES[2], "x": b""}, {"d/a": BODIES[3], "x": b""})
    assert files["d/a"] == b"one\n2\n3\n4\n5\nsix\n"


def test_nothing_is_left():
    assert merged({"a": b"1", "d/b": b"2"}, {"a": b"1"}, {"d/b": b"2"})[0] == {}


def test_only_folders_which_both_changed_are_read():
    memory = Memory()
    base = {f"d{n}/x": b"1" for n in range(50)}
    ours, theirs = base | {"d1/x": b"2"}, base | {"d2/x": b"2"}
    done = merge_trees(memory, memory.put(base), memory.put(ours), memory.put(theirs))
    assert not done.conflicts and memory.reads <= 2


def test_so_many_files_are_merged_by_lines():
    count = MAX_TEXTS + 1
    sides = [{f"{n:04d}": body for n in range(count)} for body in BODIES[1:4]]
    files, conflicts = merged(*sides)
    assert files is None and conflicts == [f"{count - 1:04d}"]


def test_modes_are_merged_too():
    memory = Memory()
    tree = memory.put({"a": b"1\n2\n3\n4\n"})
    changed = memory.put({"a": b"1\n2\n3\nfour\n"})
    item = memory._trees[tree]["a"]
    made = git.make_tree([TreeItem("a", 0o100755, item.oid)]).id.decode()
    memory._trees[made] = {"a": TreeItem("a", 0o100755, item.oid)}
    done = merge_trees(memory, tree, made, changed)
    assert [(i.mode, i.oid) for i in git.parse_tree(done.objects[-1].as_raw_string()).values()] == [
        (0o100755, memory._trees[changed]["a"].oid)
    ]


# --- histories --------------------------------------------------------------------------------------------------------
def history(parents, times=None):
    """A History of {oid: parents}; all of one second unless told."""
    made = History.__new__(History)
    times = times or {}
    made._commits = {
        oid: git.CommitInfo(oid, "", tuple(above), "x", times.get(oid, 0), "x") for oid, above in parents.items()
    }
    return made


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 9))
    above = {str(n): draw(st.sets(st.integers(0, n - 1), max_size=2)) if n else set() for n in range(size)}
    return {oid: [str(parent) for parent in parents] for oid, parents in above.items()}


def ancestors(graph, oid):
    found, todo = set(), [oid]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += graph[one]
    return found


@LAWS
@given(graphs(), st.data())
def test_a_merge_base_is_a_best_common_ancestor(graph, data):
    one, other = (data.draw(st.sampled_from(sorted(graph))) for _ in range(2))
    times = {oid: data.draw(st.integers(0, 3)) for oid in graph}  # clocks may lie
    made = history(graph, times)
    common = ancestors(graph, one) & ancestors(graph, other)
    best = {oid for oid in common if not any(oid in ancestors(graph, c) - {c} for c in common)}
    found = made.merge_base(one, other)
    assert found in best if common else found is None
    assert {commit.oid for commit in made.ahead(one, other)} == ancestors(graph, one) - ancestors(graph, other)


def test_ahead_is_in_the_order_of_time():
    made = history({"1": [], "2": ["1"], "3": ["2"], "4": ["3"]}, {"1": 1, "2": 2, "3": 3, "4": 4})
    assert [commit.oid for commit in made.ahead("4", "1")] == ["2", "3", "4"] and made.merge_base("4", "2") == "2"
