"""Merging and comparing texts by lines: laws which hold for all texts, and git's own answer."""

import subprocess

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_registry.repos.lines import MAX_PAIRS, hunks, is_text, matching, merge_lines, split_lines

# The machine may be busy with other things.
LAWS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
TEXTS = st.lists(st.sampled_from([b"a", b"b", b"c", b"", b"\r"]), max_size=8).map(b"\n".join)
EDITS = st.lists(st.sampled_from(["keep", "keep", "keep", "drop", "change", "insert"]), min_size=12, max_size=12)


def edited(edits, side):
    """A text of twelve lines of their own, changed as the edits say: no line is there twice, so all diffs agree."""
    lines = []
    for number, edit in enumerate(edits):
        if edit == "insert":
            lines.append(b"%s new %d\n" % (side, number))
        if edit == "change":
            lines.append(b"%s %d\n" % (side, number))
        elif edit != "drop":
            lines.append(b"line %d\n" % number)
    return b"".join(lines)


@LAWS
@given(TEXTS, TEXTS)
def test_one_side_alone_is_taken_over(base, other):
    assert merge_lines(base, other, base) == other == merge_lines(base, base, other) == merge_lines(base, other, other)


@LAWS
@given(TEXTS, TEXTS, TEXTS)
def test_the_sides_are_alike(base, ours, theirs):
    assert merge_lines(base, ours, theirs) == merge_lines(base, theirs, ours)


@settings(LAWS, max_examples=60)
@given(EDITS, EDITS)
def test_a_merge_is_gits_merge(tmp_path_factory, mine, yours):
    folder = tmp_path_factory.mktemp("merge")
    base, ours, theirs = edited(["keep"] * 12, b""), edited(mine, b"mine"), edited(yours, b"yours")
    for name, data in (("base", base), ("ours", ours), ("theirs", theirs)):
        (folder / name).write_bytes(data)
    done = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=folder, capture_output=True)
    merged = merge_lines(base, ours, theirs)
    assert merged == (done.stdout if done.returncode == 0 else None)


@settings(LAWS, max_examples=60)
@given(TEXTS, TEXTS)
def test_a_diff_can_be_applied_by_git(tmp_path_factory, before, after):
    if before == after:
        return
    folder = tmp_path_factory.mktemp("diff")
    (folder / "x").write_bytes(before)
    patch = b"--- a/x\n+++ b/x\n" + b"".join(hunks(before, after))
    command = ["git", "apply", "--unidiff-zero", "--whitespace=nowarn"]
    subprocess.run(command, cwd=folder, input=patch, check=True, capture_output=True)
    assert (folder / "x").read_bytes() == after


def test_hunks_stand_apart_and_together():
    base = [b"%d\n" % n for n in range(40)]
    near, far = list(base), list(base)
    near[10], near[16] = b"x\n", b"y\n"
    far[10], far[30] = b"x\n", b"y\n"
    heads = lambda lines: [line for line in hunks(b"".join(base), b"".join(lines)) if line.startswith(b"@@")]  # noqa: E731
    assert heads(near) == [b"@@ -8,13 +8,13 @@\n"]
    assert heads(far) == [b"@@ -8,7 +8,7 @@\n", b"@@ -28,7 +28,7 @@\n"]


def test_what_is_no_text():
    assert is_text(b"") and is_text("Grüße".encode()) and not is_text(b"a\0b") and not is_text(b"x" * 600_000)
    assert split_lines(b"a\r\nb\x0cc\n") == [b"a\r\n", b"b\x0cc\n"] and split_lines(b"") == []
    assert merge_lines(b"a\0", b"b\0", b"c\0") is None


def test_texts_of_one_line_repeated_are_not_searched():
    many = [b"same\n"] * 1000
    assert len(many) ** 2 > MAX_PAIRS
    assert matching([b"x\n", *many], [b"y\n", *many, b"z\n"]) is None
    assert merge_lines(b"".join(many), b"x\n" + b"".join(many) + b"y\n", b"z\n" + b"".join(many[:-3]) + b"q\n") is None
    assert len(hunks(b"x\n" + b"".join(many), b"y\n" + b"".join(many) + b"z\n")) > 1000
