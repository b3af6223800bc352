import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_registry.datasets import reading, text_files
from models_registry.datasets.reading import cell, read_file, run_task
from models_registry.datasets.text_files import ReadingError

PROJECT = Path(__file__).resolve().parents[3]
SHARED = PROJECT.parent / "shared" / "assets"


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(name, content, limit=100):
    file = Path("files") / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(file.resolve(), limit)


def columns(answer):
    return [(column["name"], column["type"]) for column in answer["columns"]]


def run(paths, limit=100):
    Path("TASK.json").write_text(json.dumps({"act": "rows", "folder": "files", "paths": paths, "limit": limit}))
    run_task(Path("TASK.json").resolve())
    return json.loads(Path("result.json").read_text())["files"]


def parquet(name, query):
    file = Path("files") / name
    duckdb.connect().execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return file.resolve()


def test_the_command_reads_a_task_and_keeps_the_order(work_folder):
    Path("files/a.csv").write_text("x,y\n1,a\n2,b\n")
    Path("files/b.jsonl").write_text('{"x": 1}\n')
    Path("TASK.json").write_text(
        json.dumps({"act": "rows", "folder": "files", "paths": ["b.jsonl", "a.csv", "no.csv"]})
    )
    subprocess.run(
        [sys.executable, "-m", "models_registry.datasets.reading", "TASK.json"],
        check=True, env={"PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    first, second, third = json.loads(Path("result.json").read_text())["files"]
    assert first == {
        "path": "b.jsonl", "format": "jsonl", "columns": [{"name": "x", "type": "int64"}], "rows": [[1]], "num_rows": 1,
        "num_columns": 1, "truncated": False,
    }  # fmt: skip
    assert second["rows"] == [[1, "a"], [2, "b"]]
    assert third == {"path": "no.csv", "error": "There is no such file in the work folder."}
    assert sorted(path.name for path in work_folder.iterdir()) == ["TASK.json", "files", "result.json"]


def test_a_path_never_leads_out_of_the_folder(monkeypatch, work_folder):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    (work_folder / "secret.csv").write_text("secret\n1\n")
    (work_folder / "files" / "link.csv").symlink_to(work_folder / "secret.csv")
    for answer in run(["../secret.csv", "link.csv", str(work_folder / "secret.csv"), "."]):
        assert "no such file" in answer["error"]


def test_a_reader_which_dies_or_hangs_costs_only_its_own_file(monkeypatch):
    Path("files/a.csv").write_text("x\n1\n")
    real_run = subprocess.run

    def dying(command, **options):
        return real_run([sys.executable, "-c", "import os; os.abort()"], **options)

    monkeypatch.setattr(reading.subprocess, "run", dying)
    assert "signal 6" in run(["a.csv"])[0]["error"]

    def hanging(command, **options):
        return real_run([sys.executable, "-c", "import time; time.sleep(60)"], **{**options, "timeout": 0.2})

    monkeypatch.setattr(reading.subprocess, "run", hanging)
    assert "took longer" in run(["a.csv"])[0]["error"]


@pytest.mark.parametrize(
    ("name", "content", "names", "rows"),
    [
        ("typed.csv", "id,when,ok\n1,2026-01-02,true\n", [("id", "int64"), ("when", "date"), ("ok", "bool")],
         [[1, "2026-01-02", True]]),
        ("quoted.csv", 'a,b\n"x, y","line\nbreak"\n"say ""hi""",z\n', [("a", "string"), ("b", "string")],
         [["x, y", "line\nbreak"], ['say "hi"', "z"]]),
        ("no-header.csv", "1,2.5\n3,4.5\n", [("column0", "int64"), ("column1", "float64")], [[1, 2.5], [3, 4.5]]),
        ("semicolons.csv", "a;b\n1;x\n2;y\n", [("a", "int64"), ("b", "string")], [[1, "x"], [2, "y"]]),
        ("tabs.tsv", "a\tb\n1,5\tx\n", [("a", "string"), ("b", "string")], [["1,5", "x"]]),
        ("one.csv", "text\nhello\nworld\n", [("text", "string")], [["hello"], ["world"]]),
        ("ragged.csv", "a,b,c\n1,2,3\n4,5\n6,7,8,9\n",
         [("a", "string"), ("b", "string"), ("c", "string"), ("column3", "string")],
         [["1", "2", "3", None], ["4", "5", None, None], ["6", "7", "8", "9"]]),
        ("latin.csv", "name,n\nJosé,1\nMüller,2\n".encode("latin-1"), [("name", "string"), ("n", "int64")],
         [["José", 1], ["Müller", 2]]),
        ("utf16.csv", "name,n\nJosé,1\n".encode("utf-16"), [("name", "string"), ("n", "int64")], [["José", 1]]),
        ("utf16-bare.csv", "name,n\nJosé,1\n".encode("utf-16-le"), [("name", "string"), ("n", "int64")], [["José", 1]]),
        ("utf8-mark.csv", b"\xef\xbb\xbfname,n\nx,1\n", [("name", "string"), ("n", "int64")], [["x", 1]]),
        ("only-header.csv", "a,b\n", [("a", "string"), ("b", "string")], []),
        ("windows.csv", "a,b\r\n1,x\r\n", [("a", "int64"), ("b", "string")], [[1, "x"]]),
        ("zones.csv", "t,n\n2016-02-03T07:55:29Z,1\n", [("t", "timestamp with time zone"), ("n", "int64")],
         [["2016-02-03 07:55:29+00", 1]]),
    ],
)  # fmt: skip
def test_delimited_files(name, content, names, rows):
    answer = shown(name, content)
    assert (columns(answer), answer["rows"]) == (names, rows)
    assert (answer["num_rows"], answer["truncated"]) == (len(rows), False)


@pytest.mark.parametrize(
    ("name", "content", "names", "rows"),
    [
        ("lines.jsonl", '{"a": 1, "b": "x"}\n\n{"a": 2.5, "c": [1]}\n',
         [("a", "float64"), ("b", "string"), ("c", "list")], [[1, "x", None], [2.5, None, "[1]"]]),
        ("scalars.jsonl", '"x"\n"y"\n', [("value", "string")], [["x"], ["y"]]),
        ("array.json", '[{"a": 1}, {"a": null}]', [("a", "int64")], [[1], [None]]),
        ("plain.json", "[1, 2]", [("value", "int64")], [[1], [2]]),
        ("columns.json", '{"a": [1, 2], "b": ["x", "y"]}', [("a", "int64"), ("b", "string")], [[1, "x"], [2, "y"]]),
        ("field.json", '{"data": [{"a": 1}]}', [("a", "int64")], [[1]]),
        ("record.json", '{"a": {"b": 1}, "c": true}', [("a", "struct"), ("c", "bool")], [['{"b": 1}', True]]),
        ("lines.json", '{"a": 1}\n{"a": 2}\n', [("a", "int64")], [[1], [2]]),
        ("empty.json", "[]", [("value", "null")], []),
        ("utf16.json", '[{"a": "é"}]'.encode("utf-16"), [("a", "string")], [["é"]]),
        ("odd.ndjson", '{"a": NaN, "b": 1e999, "c": 99999999999999999999}\n',
         [("a", "float64"), ("b", "float64"), ("c", "int64")], [["nan", "inf", "99999999999999999999"]]),
    ],
)  # fmt: skip
def test_json_files(name, content, names, rows):
    answer = shown(name, content)
    assert (columns(answer), answer["rows"], answer["num_rows"]) == (names, rows, len(rows))
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "empty"),
        ("a.jsonl", b" \n ", "white space"),
        ("a.txt", b"x", "none of them"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x01\x02" + bytes(range(256)), "not text"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "Line 2 is not JSON"),
        ("a.json", b"[1, 2", "array does not end"),
        ("a.json", b"[1 2]", "comma is missing"),
        ("a.json", b'[{"a": }]', "not JSON"),
        ("a.json", b'{"a": 1', "not JSON"),
        ("a.parquet", b"PAR1 rubbish PAR1", "Parquet file cannot be read"),
        ("a.parquet", b"not parquet at all", "Parquet file cannot be read"),
    ],
)
def test_unreadable_files_are_named_in_a_sentence_without_their_path(name, content, sentence, work_folder):
    with pytest.raises(ReadingError, match=sentence) as raised:
        shown(name, content)
    assert str(work_folder) not in str(raised.value) and str(raised.value).endswith(".")


def test_parquet_with_all_kinds_of_values():
    file = parquet("all.parquet", """
        SELECT range AS id, repeat('x', 2000) AS long, 'ab'::BLOB AS raw, [1, 2] AS list, {'b': 'c'::BLOB} AS struct,
               DATE '2026-01-02' AS day, TIMESTAMPTZ '2026-01-02 03:04:05+00' AS at, 1.5::DECIMAL(9,2) AS price,
               MAP {1: 'a'} AS map, 'nan'::DOUBLE AS nan, NULL::INTEGER AS nothing, DATE '99999-01-01' AS far
        FROM range(1000)""")  # fmt: skip
    answer = read_file(file, 10)
    assert (answer["num_rows"], len(answer["rows"]), answer["truncated"]) == (1000, 10, True)
    row = dict(zip([name for name, _ in columns(answer)], answer["rows"][3], strict=True))
    assert row.pop("long") == "x" * 500 + "…"
    assert row == {
        "id": 3, "raw": "<2 bytes>", "list": "[1, 2]", "struct": '{"b": "<1 bytes>"}', "day": "2026-01-02",
        "at": "2026-01-02 03:04:05+00", "price": "1.50", "map": '{"1": "a"}', "nan": "nan", "nothing": None,
        "far": "99999-01-01",
    }  # fmt: skip


def test_wide_tables_and_long_rows_are_bounded():
    many = parquet("wide.parquet", "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(400)))
    answer = read_file(many, 10)
    assert (answer["num_columns"], len(answer["columns"]), len(answer["rows"][0])) == (400, 256, 256)
    assert answer["truncated"]
    long = parquet(
        "long.parquet", f"SELECT {', '.join(f'''repeat('y', 9999) AS c{n}''' for n in range(100))} FROM range(100)"
    )
    assert 1 <= len(read_file(long, 100)["rows"]) < 100


def test_one_huge_line():
    answer = shown("huge.csv", "a,b\n" + "x" * 5_000_000 + ",1\n")
    assert answer["rows"] == [["x" * 500 + "…", 1]]
    answer = shown("huge.jsonl", json.dumps({"a": "x" * 5_000_000}))
    assert answer["rows"] == [["x" * 500 + "…"]]


def test_of_large_files_only_the_beginning_is_read_and_not_counted(monkeypatch):
    monkeypatch.setattr(text_files, "PREFIX_BYTES", 1000)
    for name, content in (
        ("a.csv", "n,text\n" + "".join(f"{n},é{n}\n" for n in range(1000))),
        ("a.jsonl", "".join(f'{{"n": {n}, "text": "é{n}"}}\n' for n in range(1000))),
        ("a.json", "[" + ",\n".join(f'{{"n": {n}, "text": "é{n}"}}' for n in range(1000)) + "]"),
    ):
        answer = shown(name, content, limit=10_000)
        assert answer["num_rows"] is None and answer["truncated"]
        assert 20 < len(answer["rows"]) < 200
        assert answer["rows"] == [[n, f"é{n}"] for n in range(len(answer["rows"]))]
    with pytest.raises(ReadingError, match="first line is longer"):
        shown("b.jsonl", json.dumps({"a": "x" * 2000}))


def test_the_database_reaches_nothing_but_its_file(work_folder):
    Path("files/a.csv").write_text("x\n1\n")
    (work_folder / "other.csv").write_text("x\n1\n")
    connection = reading._connect(work_folder / "files" / "a.csv")
    for query in (
        f"SELECT * FROM read_csv('{work_folder / 'other.csv'}')",
        f"COPY (SELECT 1) TO '{work_folder / 'out.csv'}'",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "INSTALL httpfs",
        "SET enable_external_access=true",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(query)
    assert not (work_folder / "out.csv").exists()


def test_cells_are_json():
    assert [cell(v) for v in (None, True, 1, 2**60, 1.5, float("-inf"), b"abc", "é")] == [
        None, True, 1, str(2**60), 1.5, "-inf", "<3 bytes>", "é",
    ]  # fmt: skip
    assert cell("a\ud800b") == "a?b"
    assert cell([b"x" * 1234, {"k": float("nan")}]) == '["<1,234 bytes>", {"k": "nan"}]'


@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.tsv", "x.json", "x.jsonl", "x.parquet"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_rows_or_a_sentence(content, name):
    file = Path("files") / name
    file.write_bytes(content)
    answer = reading._answer(file.resolve(), 10)
    json.dumps(answer, allow_nan=False).encode()
    assert "error" in answer or len(answer["columns"]) == min(answer["num_columns"], 256)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared assets are not beside this checkout")
def test_real_files_and_bad_parquet(monkeypatch, work_folder):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    names = {
        "datasets/banking77/train.csv": 10003, "datasets/stsb-en/stsb-en-dev.csv": 1500, "datasets/vega/cars.json": 406,
        "datasets/gsm8k/test.jsonl": 1319, "datasets/vega/unemployment.tsv": 3218,
        "datasets/userdata-multiformat/csv/userdata1.csv": 1000,
        "datasets/userdata-multiformat/parquet/userdata1.parquet": 1000,
    }  # fmt: skip
    bad = sorted(str(path.relative_to(SHARED)) for path in (SHARED / "badinput" / "parquet-bad").glob("*.parquet"))
    assert bad
    task = {"act": "rows", "folder": str(SHARED), "paths": [*names, *bad], "limit": 7}
    Path("TASK.json").write_text(json.dumps(task))
    run_task(Path("TASK.json").resolve())
    answers = json.loads(Path("result.json").read_text())["files"]
    assert {a["path"]: a["num_rows"] for a in answers[: len(names)]} == names
    assert all(len(a["rows"]) == 7 for a in answers[: len(names)])
    assert all("rows" in a or a["error"].startswith("This Parquet file cannot be read") for a in answers[len(names) :])
