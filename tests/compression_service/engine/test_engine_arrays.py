"""NPZ files as rows of a dataset."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from test_engine_linked import apart, prepared

from compression_service.engine.calibration import arrays, mapping, rows

RNG = np.random.default_rng(0)


def saved(folder, name="rows.npz", **given):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / name, **given)
    return folder


def test_arrays_are_columns_and_their_names_say_the_split(tmp_path):
    x, y = RNG.integers(0, 255, (40, 8, 8), np.uint8), np.arange(40) % 10
    folder = saved(tmp_path / "rows", x_train=x[:24], y_train=y[:24], x_test=x[24:], y_test=y[24:])
    tables = rows.read(folder, 0)
    assert sorted(tables) == ["test", "train"] and [len(tables[key]) for key in sorted(tables)] == [16, 24]
    assert tables["test"].columns["y"] == y[24:].tolist() and (tables["test"].columns["x"][0] == x[24]).all()
    made = prepared(tmp_path, models.mlp(), folder, {"scale": 0.0625})
    assert made.kind == "dataset" and made.labels.tolist() == y[24:].tolist() and made.evaluation_count == 16
    feed = made.components["model"].evaluation[0]["x"]
    assert feed.dtype == np.float32 and np.allclose(feed.reshape(8, 8), x[24] / 16)
    apart(made)


def test_several_files_of_one_split_are_one_table(tmp_path):
    folder = saved(tmp_path, "a.npz", x=np.zeros((3, 2)))
    saved(folder, "b.npz", x=np.ones((2, 2)))
    saved(folder, "c.npz", other=np.ones((2, 2)))
    table = rows.read(folder, 0)["all"]
    assert len(table) == 5 and table.files == ["a.npz", "b.npz"]
    (tmp_path / "t.csv").write_text("a\n1\n")
    assert list(rows.read(folder, 0)["all"].columns) == ["a"]  # tables come first


@pytest.mark.parametrize("shape", [[1, 3, 4, 5], [1, 3, None, None]])
def test_channels_which_come_last_are_turned(shape):
    cell = RNG.integers(0, 255, (4, 5, 3), np.uint8)
    assert (mapping._channels_first(cell, shape) == cell.transpose(2, 0, 1)).all()
    assert mapping._channels_first(cell.transpose(2, 0, 1), shape).shape == (3, 4, 5)
    assert mapping._channels_first(cell, [1, 4, 5, 3]) is cell


def test_what_can_not_be_read_says_why(tmp_path, monkeypatch):
    folder = saved(tmp_path / "a", x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(ValueError, match=r"not of one length \(x 3, y 4\)"):
        rows.read(folder, 0)
    folder = saved(tmp_path / "b", x=np.array([{}], object))
    with pytest.raises(ValueError, match=r"rows\.npz cannot be read"):
        rows.read(folder, 0)
    for data in (b"", b"PK\3\4 torn", (tmp_path / "a" / "rows.npz").read_bytes()[:-30]):
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / "x.npz").write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.npz cannot be read"):
            rows.read(tmp_path / "c", 0)
    monkeypatch.setattr(arrays, "LARGEST_BYTES", 100)
    with pytest.raises(ValueError, match="more than the 100 which are read"):
        rows.read(saved(tmp_path / "d", x=np.zeros(1000)), 0)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no CSV, JSON, Parquet or NPZ"):
        rows.read(saved(tmp_path / "e", x=np.float32(3)), 0)
