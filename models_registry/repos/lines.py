"""Texts by lines: what differs, and both of two changes in one text. Pure, and bounded: nobody's file takes minutes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

MAX_TEXT_BYTES = 512 * 1024
# Pairs of equal lines among which the matching has to look: a file of one line 1,000 times has a million.
MAX_PAIRS = 100_000
CONTEXT = 3

Block = tuple[int, int, int]  # first line here, first line there, how many are the same


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their ends, as git sees them: only a line feed ends one."""
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def is_text(data: bytes) -> bool:
    """Whether the bytes can be shown and merged by lines: small enough, and no NUL near the start, as git decides."""
    return len(data) <= MAX_TEXT_BYTES and b"\0" not in data[:8000]


def matching(a: Sequence[bytes], b: Sequence[bytes]) -> list[Block] | None:
    """The blocks of lines which both have, in order. None when looking for them would take too long."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    blocks = [(0, 0, start)] if start else []
    if middle_a and middle_b:
        here, there = Counter(middle_a), Counter(middle_b)
        if sum(count * there[line] for line, count in here.items()) > MAX_PAIRS:
            return None
        for i, j, count in SequenceMatcher(None, middle_a, middle_b, autojunk=False).get_matching_blocks():
            if count:
                blocks.append((start + i, start + j, count))
    if end:
        blocks.append((len(a) - end, len(b) - end, end))
    return blocks


def merge_lines(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Both sides' changes to `base`, or None when they touch the same lines (or neighbouring ones, as in git)."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    if not (is_text(base) and is_text(ours) and is_text(theirs)):
        return None
    old, mine, yours = split_lines(base), split_lines(ours), split_lines(theirs)
    left, right = matching(old, mine), matching(old, yours)
    if left is None or right is None:
        return None
    merged: list[bytes] = []
    at_old = at_mine = at_yours = 0
    for start, in_mine, in_yours, count in _in_all_three(left, right, (len(old), len(mine), len(yours))):
        before, ours_part, theirs_part = old[at_old:start], mine[at_mine:in_mine], yours[at_yours:in_yours]
        if ours_part == theirs_part or theirs_part == before:
            merged += ours_part
        elif ours_part == before:
            merged += theirs_part
        else:
            return None
        merged += old[start : start + count]
        at_old, at_mine, at_yours = start + count, in_mine + count, in_yours + count
    return b"".join(merged)


def _in_all_three(left: list[Block], right: list[Block], ends: Block) -> Iterator[tuple[int, int, int, int]]:
    """Runs of base lines which neither side changed: (in base, in ours, in theirs, how many); last an empty one."""
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i][0], right[j][0])
        end = min(left[i][0] + left[i][2], right[j][0] + right[j][2])
        if start < end:
            yield start, start - left[i][0] + left[i][1], start - right[j][0] + right[j][1], end - start
        if left[i][0] + left[i][2] < right[j][0] + right[j][2]:
            i += 1
        else:
            j += 1
    yield (*ends, 0)


def hunks(before: bytes, after: bytes) -> list[bytes]:
    """The lines of a unified diff (without file names), each with its end. Both are texts (`is_text`)."""
    old, new = split_lines(before), split_lines(after)
    blocks = matching(old, new)
    if blocks is None:
        blocks = []  # everything goes, everything comes: long, but right
    out: list[bytes] = []
    for group in _groups(_changes(blocks, len(old), len(new))):
        first, last = group[0], group[-1]
        lead = min(CONTEXT, first[0])
        trail = min(CONTEXT, len(old) - last[1])
        old_start, old_end = first[0] - lead, last[1] + trail
        new_start, new_end = first[2] - lead, last[3] + trail
        out.append(b"@@ -%s +%s @@\n" % (_span(old_start, old_end), _span(new_start, new_end)))
        at = old_start
        for old_from, old_to, new_from, new_to in group:
            out += [_line(b" ", line) for line in old[at:old_from]]
            out += [_line(b"-", line) for line in old[old_from:old_to]]
            out += [_line(b"+", line) for line in new[new_from:new_to]]
            at = old_to
        out += [_line(b" ", line) for line in old[at:old_end]]
    return out


Change = tuple[int, int, int, int]  # lines [from, to) of the old text become [from, to) of the new one


def _changes(blocks: list[Block], old_length: int, new_length: int) -> list[Change]:
    found, at_old, at_new = [], 0, 0
    for start, in_new, count in [*blocks, (old_length, new_length, 0)]:
        if at_old < start or at_new < in_new:
            found.append((at_old, start, at_new, in_new))
        at_old, at_new = start + count, in_new + count
    return found


def _groups(changes: list[Change]) -> list[list[Change]]:
    """Changes which stand so near that their contexts would touch are shown together."""
    groups: list[list[Change]] = []
    for change in changes:
        if groups and change[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _span(start: int, end: int) -> bytes:
    length = end - start
    begin = start + 1 if length else start  # an empty range is named by the line before it
    return b"%d" % begin if length == 1 else b"%d,%d" % (begin, length)


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"
