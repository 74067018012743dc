"""The table of checkpoint formats: every row reads, what it writes it reads back, and is said."""

import re
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConversionError
from convert import read_checkpoint
from convert.formats.stored import Contents, FileHead, contiguous, dtype_named
from convert.formats.stream import Writing
from convert.formats.table import FORMATS, SUFFIXES, Format, format_of, output_format, written_for
from convert.names.spec import BARE, PADDLE, TORCH, TensorSpec
from tests.paths import ROOT

FRAMEWORKS = (TORCH, PADDLE)
WRITTEN = [(row, framework) for framework in FRAMEWORKS for row in written_for(framework)]


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_a_row_is_whole(row):
    assert row.name
    assert callable(row.looks_like)
    assert callable(row.read)
    assert row.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in row.suffixes)
    assert (row.write is None) == (not row.holds)
    assert row.native in (None, *FRAMEWORKS)


def test_names_are_unique_and_each_framework_has_one_format_of_its_own():
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    for framework in FRAMEWORKS:
        assert sum(row.native == framework and row.write is not None for row in FORMATS) == 1


@pytest.mark.parametrize(
    ("row", "framework"), WRITTEN, ids=lambda value: getattr(value, "name", value)
)
def test_what_is_written_is_recognised_and_read_back(row, framework, tmp_path):
    dtypes = sorted(name for name in row.holds if name not in ("uint16", "bool"))
    state = {name: np.arange(6).reshape(2, 3).astype(dtype_named(name)) for name in dtypes}
    path = tmp_path / f"any{row.suffixes[0]}"
    sha256, size = row.write(state, path, Writing(framework))
    data = path.read_bytes()
    assert (len(sha256), size) == (64, len(data))
    assert format_of(path, FileHead(data[:1024], size, "")) is row  # by content alone
    back = read_checkpoint(path)
    assert back.framework == framework
    assert set(back) == set(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_suffix_of_an_output_decides(framework):
    for row, able in WRITTEN:
        if able == framework:
            for suffix in row.suffixes:
                assert output_format(Path(f"a{suffix}"), framework) is row
                assert output_format(Path(f"A{suffix.upper()}"), framework) is row
    assert output_format(Path("a.strange"), framework).native == framework
    other = PADDLE if framework == TORCH else TORCH
    theirs = output_format(Path("a"), other).suffixes[0]
    assert output_format(Path(f"a{theirs}"), framework).native == framework


@pytest.mark.parametrize(
    ("dtype", "ends", "other"),
    [("complex128", ".safetensors", ".pdparams"), ("uint16", ".pdparams", ".safetensors")],
)
def test_a_dtype_that_an_output_cannot_hold_names_the_one_that_can(dtype, ends, other):
    from convert.conversion import convert_arrays
    from convert.names.rules import Rules

    state = {"weight": np.ones(2, dtype)}
    target = [TensorSpec("weight", (2,), dtype, BARE, "weight")]
    output = output_format(Path(f"a{ends}"), PADDLE)
    words = f"weight: {ends} cannot hold the file's dtype {dtype}; --output with {other} can"
    with pytest.raises(ConversionError, match=re.escape(words)):
        convert_arrays(state, target, Rules(), None, output=output)


def test_every_row_is_documented():
    guide = (ROOT / "docs" / "guide" / "convert.md").read_text("utf-8")
    for row in FORMATS:
        assert f"| {row.name} | {', '.join(f'`{end}`' for end in row.suffixes)} | " in guide
    rows = [line for line in guide.splitlines() if line.endswith(("| |", "|")) and "`." in line]
    assert len([line for line in rows if line.startswith("| ")]) == len(FORMATS)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "commands/convert_options.py"])
def test_every_suffix_is_said_where_people_look(page):
    text = (ROOT / page).read_text("utf-8")
    for suffix in SUFFIXES:
        words = {".index.json": ("index.json", "sharded indexes", "分片索引")}
        assert any(word in text for word in words.get(suffix, (suffix,))), suffix


def test_a_new_format_is_one_row(tmp_path, monkeypatch):
    """A file of a made-up format is read once the table has its row."""
    from convert.formats import table
    from convert.formats.stored import Storage, Stored

    def read(path, data):
        values = np.frombuffer(data, "<f4", offset=4)
        shape = values.shape
        stored = Stored(Storage(memoryview(values)), values.dtype, shape, contiguous(shape))
        return Contents({"weight": stored}, TORCH, "mine, ")

    row = Format("mine", (".mine",), lambda head: head.data.startswith(b"MINE"), read)
    monkeypatch.setattr(table, "FORMATS", (*FORMATS, row))
    (tmp_path / "a").write_bytes(b"MINE" + np.ones(3, "<f4").tobytes())
    found = read_checkpoint(tmp_path / "a")
    assert found.found_as.startswith("mine, ")
    assert np.array_equal(found["weight"], np.ones(3))
