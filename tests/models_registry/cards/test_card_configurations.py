"""`configs:` of a dataset's card: which files belong to which configuration and split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.cards.configurations import configurations, files_of, is_of, named

CONFIGS = {
    "configs": [
        {"config_name": "en", "data_files": [{"split": "train", "path": "en/train-*"}, {"split": "test", "path": ["en/test.csv", "more/*.csv"]}]},
        {"config_name": "de", "data_dir": "de", "default": True},
        {"config_name": "all", "data_files": "**/*.csv"},
    ]
}  # fmt: skip
PATHS = [
    "README.md",
    "en/train-0.csv",
    "en/train-1.csv",
    "en/test.csv",
    "more/x.csv",
    "more/deep/x.csv",
    "de/a/train.csv",
]


def test_files_belong_to_splits_as_the_card_says():
    en, de, everything = configurations(CONFIGS)
    assert files_of(en, PATHS) == {
        "en/train-0.csv": "train", "en/train-1.csv": "train", "en/test.csv": "test", "more/x.csv": "test",
    }  # fmt: skip
    assert files_of(de, PATHS) == {"de/a/train.csv": ""}
    assert set(files_of(everything, PATHS)) == set(PATHS) - {"README.md"}


def test_without_a_name_the_default_one_is_taken():
    found = configurations(CONFIGS)
    assert named(found).name == "de" and named(found, "en").name == "en" and named(found, "fr") is None
    plain = [{"config_name": name, "data_files": "x"} for name in ("b", "default", "a")]
    assert named(configurations({"configs": plain})).name == "default"
    assert named(configurations({"configs": [plain[0], plain[2]]})).name == "b" and named([]) is None


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("data", "data/x/y.csv", True), ("data/", "data/y.csv", True), ("data", "database.csv", False), ("data/*", "data/x/y.csv", False),
        ("./data", "data/x.csv", True), ("a/b.csv", "a/b.csv/c", True),
        ("data/**", "data/x/y.csv", True), ("data/**/y.csv", "data/y.csv", True), ("**/y.csv", "y.csv", True), ("*.csv", "a/b.csv", False),
        ("train-[0-9].csv", "train-3.csv", True), ("train-[!0-9].csv", "train-3.csv", False), ("t?.csv", "t1.csv", True),
        ("a.csv", "a.csv", True), ("a.csv", "aXcsv", False), ("**", "any/thing", True), ("data/**", "data", True), ("x/data", "data/x", False),
    ],
)  # fmt: skip
def test_globs_are_those_of_paths(pattern, path, expected):
    one = configurations({"configs": [{"config_name": "x", "data_files": pattern}]})[0]
    assert (path in files_of(one, [path])) is expected


def test_the_first_pattern_counts_whether_it_is_a_glob_or_not():
    listed = [
        {"split": "a", "path": "data/*.csv"},
        {"split": "b", "path": "data/x.csv"},
        {"split": "c", "path": ["data"]},
    ]
    one = configurations({"configs": [{"config_name": "x", "data_files": listed}]})[0]
    assert files_of(one, ["data/x.csv", "data/x.json"]) == {"data/x.csv": "a", "data/x.json": "c"}
    other = configurations(
        {"configs": [{"config_name": "x", "data_dir": "./data", "data_files": listed[1]["path"][5:]}]}
    )
    assert files_of(other[0], ["data/x.csv", "x.csv"]) == {"data/x.csv": ""}


def test_a_pattern_of_many_stars_is_no_work():
    assert not is_of("/".join(["a"] * 400), "/".join(["**"] * 200 + ["b"]))
    assert not is_of("a" * 5000, "*a" * 200 + "b")


@pytest.mark.parametrize(
    "configs",
    [
        None, 3, "en", {}, [3, None, "x", []], [{}], [{"config_name": 3, "data_files": "x"}], [{"config_name": "x"}], [{"config_name": ""}],
        [{"config_name": "x", "data_files": 3}], [{"config_name": "x", "data_files": [{"split": "train"}]}], [{"config_name": "x", "data_dir": "./"}],
        [{"config_name": "x" * 600, "data_files": "x"}], [{"config_name": "x", "data_files": [[["y"]]]}],
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_left_out(configs):
    assert configurations({"configs": configs}) == []


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["config_name", "data_files", "data_dir", "split", "path", "default"]), inner), max_leaves=12))  # fmt: skip
def test_whatever_a_card_says_is_read(value):
    for one in configurations({"configs": value}):
        assert set(files_of(one, PATHS)) <= set(PATHS)
