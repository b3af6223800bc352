"""Which paths and names a repository takes. Property: no path which is taken leaves the folder."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.errors import BadRequest, Unprocessable
from models_registry.repos.paths import check_path, check_ref_part


@pytest.mark.parametrize("path", ["a", "a/b.txt", ".gitattributes", "ü/ß.bin", "a b", "x.git/y", "...", "a/.hidden"])
def test_paths_which_are_taken(path):
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", " ", "/a", "../x", "a/../b", "a//b", "a/", ".", "..", "./a", ".git/config", "a/.GIT/x", ".git", "a\0b", "a\\b",
     "..\\ddd", "a\nb", "git~1/x", ".git. /x", "x" * 2000, "\ud800"],
)  # fmt: skip
def test_paths_which_are_refused(path):
    with pytest.raises(Unprocessable, match="give a relative path"):
        check_path(path)


@given(st.text(max_size=60))
def test_a_path_which_is_taken_stays_inside(path):
    try:
        check_path(path)
    except Unprocessable:
        return
    joined = posixpath.normpath(posixpath.join("/root", path))
    assert joined.startswith("/root/") and joined == posixpath.join("/root", path)
    assert ".git" not in path.lower().split("/")


@pytest.mark.parametrize("name", ["main", "dev/x", "v1.0", "ünïcode", "a-b_c"])
def test_ref_names_which_are_taken(name):
    assert check_ref_part(name, "branch") == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a..b", "/a", "a/", "-a", ".a", "a.lock", "@", "a@{b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b",
             "refs/heads/x", "fit@memory=1", "a\0", "0" * 40, "x" * 300]
)  # fmt: skip
def test_ref_names_which_are_refused(name):
    with pytest.raises(BadRequest, match="Invalid reference for a branch"):
        check_ref_part(name, "branch")
