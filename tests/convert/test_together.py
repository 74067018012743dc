"""Weights, their account and what was dropped: one thing, whatever moment a run is killed at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UnreadableError, UserError
from common.files import sha256_of
from convert import convert_checkpoint
from convert.formats.checkpoint import read_checkpoint
from convert.formats.safetensors import write_safetensors
from convert.formats.stream import Writing
from convert.names.spec import TORCH
from convert.outputs import account_path, files_beside, left_at_initialisation
from convert.reverse import reverse_checkpoint
from convert.together import settle, settle_held, whole_files
from tests.paths import ROOT

OLD, NEW = "old", "new"


def written(folder, words):
    """A conversion that writes `words` to all of its files; the new one drops nothing."""
    names = files_beside(folder / "x.pdparams")
    with whole_files(names) as drafts:
        for name in names if words == OLD else (names[0], names[2]):
            drafts[name].write_text(words)
    return names


def states(names):
    return [name.read_text() if name.exists() else None for name in names]


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


WHOLE = [[OLD, OLD, OLD], [NEW, None, NEW]]
# What a reader may meet between: weights without an account, never beside another's.
BETWEEN = [[OLD, OLD, None], [NEW, OLD, None], [NEW, None, None]]


@pytest.mark.skipif(os.name != "posix", reason="children by fork")
def test_killed_at_any_call_it_is_the_old_pair_or_the_new(tmp_path):
    """Every call that changes the folder is the last one of a process once."""
    seen = []
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = written(folder, OLD)
        child = os.fork()
        if child == 0:
            die_at(number)
            written(folder, NEW)
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        assert states(names) in WHOLE + BETWEEN, number
        settled = settle_held(names)
        assert states(names) in WHOLE, number
        assert listed(folder) == [name for name in listed(folder) if name[0] != "."], number
        seen.append((states(names)[0], bool(settled.completed)))
        if not died:
            break
    assert not died
    # First nothing had begun, then what had was completed, then nothing was left to do.
    assert list(dict.fromkeys(seen)) == [(OLD, False), (NEW, True), (NEW, False)]


def die_at(number):
    """End this process before its change number `number` of a folder."""
    count = -1

    def dying(function):
        def call(*given, **more):
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return function(*given, **more)

        return call

    for name in ("rename", "replace", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
        setattr(Path, name, dying(getattr(Path, name)))


@pytest.mark.parametrize("failure", [OSError(5, "no"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_failure_between_the_renames_leaves_a_pair(tmp_path, monkeypatch, failure, at):
    """1 is that of the record of the renames, 2 that of the old account, 3 of the weights."""
    names = written(tmp_path, OLD)
    replace, count = Path.replace, 0

    def failing(self, target):
        nonlocal count
        count += 1
        if count == at:
            raise failure
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises((UserError, KeyboardInterrupt)):
        written(tmp_path, NEW)
    monkeypatch.undo()
    settle_held(names)
    assert states(names) == WHOLE[at == 4 or (at == 3 and count > 5)]
    assert len(listed(tmp_path)) == (3 if states(names)[0] == OLD else 2)


def test_a_record_that_lies_moves_nothing(tmp_path):
    names = written(tmp_path, OLD)
    record = tmp_path / ".x.pdparams.moves.json"
    (tmp_path / ".mine.1.part").write_text("mine")
    right = {names[0].name: ".x.pdparams.1.part", names[1].name: None}
    lies = ["", "[]", "{}", "[" * 9999, json.dumps({**right, names[2].name: None})]
    lies += [json.dumps({**right, names[2].name: place}) for place in (".mine.1.part", "../x", 1)]
    for text in lies:
        record.write_text(text)
        with pytest.raises(UnreadableError, match="remove it"):
            settle(names)
        assert states(names) == WHOLE[0]
    assert (tmp_path / ".mine.1.part").exists()


@pytest.fixture
def source(tmp_path):
    """A net of one convolution."""
    path = tmp_path / "net.safetensors"
    write(path, 0.0)
    return path


def write(path, value):
    write_safetensors({"conv.weight": np.full((60, 400, 3, 3), value, "f4")}, path, Writing(TORCH))


def convert(source, **more):
    return convert_checkpoint(source, source.with_suffix(".pdparams"), generic=True, **more)


def test_two_at_once_one_wins_and_the_other_is_told(source):
    output = source.with_suffix(".pdparams")
    told = []

    def second(done, total):
        if not told:
            words = rf"another run writes there \(process {os.getpid()}"
            with pytest.raises(UserError, match=words):
                convert(source, force=True)
            told.append(True)

    convert(source, progress=second)
    assert told
    assert listed(source.parent) == [output.name, account_path(output).name, source.name]
    with pytest.raises(UserError, match="exists already"):
        convert(source)


def test_what_came_meanwhile_is_not_written_over(source):
    output = source.with_suffix(".pdparams")

    def other(done, total):
        output.write_bytes(b"of another program")

    with pytest.raises(UserError, match="exists already"):
        convert(source, progress=other)
    with pytest.raises(UserError, match="exists already"):
        reverse_checkpoint(source_of_paddle(source), output.with_suffix(".pth"), progress=late)
    assert output.read_bytes() == b"of another program"
    assert not account_path(output).exists()


def late(done, total):
    raise UserError("exists already")


def source_of_paddle(source):
    made = source.with_name("paddle.pdparams")
    convert_checkpoint(source, made, generic=True)
    return made


def test_a_source_that_changes_is_refused_even_with_its_time_set_back(source):
    times = (source.stat().st_atime_ns, source.stat().st_mtime_ns)

    def change(done, total):
        with source.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\1\2\3\4")
        os.utime(source, ns=times)

    with pytest.raises(UnreadableError, match="was changed while it was read"):
        convert(source, progress=change)
    assert listed(source.parent) == [source.name]


def test_a_shard_that_changes_is_refused_and_the_account_holds_the_sum_of_each(tmp_path):
    for name in "ab":
        weight = {f"{name}.weight": np.zeros((8, 4, 3, 3), "f4")}
        write_safetensors(weight, tmp_path / f"{name}.safetensors", Writing(TORCH))
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"{n}.weight": f"{n}.safetensors" for n in "ab"}}))
    made = convert_checkpoint(index, tmp_path / "x.pdparams", generic=True)
    parts = {f"{name}.safetensors": sha256_of(tmp_path / f"{name}.safetensors") for name in "ab"}
    assert made.account.source["parts"] == parts
    checkpoint = read_checkpoint(index)
    os.utime(tmp_path / "b.safetensors", ns=(1, 1))
    with pytest.raises(UnreadableError, match=r"b\.safetensors: was changed"):
        checkpoint.require_unchanged()


def test_weights_beside_the_account_of_others_are_told(source):
    """A copy by hand; of a file that was trained on it is true as well."""
    made = source_of_paddle(source)
    assert reverse_checkpoint(made).notes == ()
    other = source.with_name("other.safetensors")
    write(other, 1.0)
    converted = convert_checkpoint(other, other.with_suffix(".pdparams"), generic=True)
    made.write_bytes(Path(converted.account.output["path"]).read_bytes())
    assert "another SHA-256" in reverse_checkpoint(made).notes[0]
    assert reverse_checkpoint(made, checksum=False).notes == ()


def test_what_a_kill_left_is_completed_before_weights_are_read(tmp_path):
    """Also by who only reads: the way back, and a training that starts from them."""
    for read in (left_at_initialisation, reverse_checkpoint):
        source = tmp_path / read.__name__ / "net.safetensors"
        source.parent.mkdir()
        write(source, 0.0)
        output = Path(convert(source).account.output["path"])
        names = files_beside(output)
        moves = {}
        for name in (names[0], names[2]):
            draft = name.with_name(f".{name.name}.1.part")
            name.rename(draft)
            moves[name.name] = draft.name
        moves = {names[0].name: moves[names[0].name], names[1].name: None, **moves}
        (output.parent / f".{output.name}.moves.json").write_text(json.dumps(moves))
        read(output)
        assert listed(output.parent) == [output.name, account_path(output).name, source.name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what other systems send differs")
def test_a_source_that_is_cut_ends_with_a_message(source, tmp_path):
    """The command as it is typed, in two processes; its own code cuts the file while it reads."""
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tools')!r})\n"
        "import _checkout\n"
        "from commands import convert, guard\n"
        "from convert.formats import stream\n"
        "look = stream.blocks\n"
        "def cut(array):\n"
        f"    os.truncate({str(source)!r}, 64)\n"
        "    yield from look(array)\n"
        "import convert.formats.pdparams as pdparams\n"
        "pdparams.blocks = stream.blocks = cut\n"
        "from commands.convert_options import conversion_parser\n"
        "main = lambda: convert.run_conversion(conversion_parser('').parse_args())\n"
        "guard.run_guarded(main, patient=True)\n"
    )
    script = tmp_path / "cut.py"
    script.write_text(code)
    words = [sys.executable, str(script), str(source), "--generic", "--no-verify"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "was cut short meanwhile" in done.stderr
    assert listed(tmp_path) == ["cut.py", source.name]


@pytest.mark.parametrize("output", ["[]", "7", "{}", "[" * 100_000])
def test_an_account_that_lies_about_its_output_is_none_of_the_file(output, tmp_path):
    weights = tmp_path / "net.pdparams"
    weights.write_bytes(b"")
    rows = '[{"key": "a", "change": "left at initialisation"}]'
    account_path(weights).write_text(f'{{"output": {output}, "target_tensors": {rows}}}')
    assert left_at_initialisation(weights) == []


def test_the_folder_one_is_in_is_no_file_to_write_or_read(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a folder"):
        convert_checkpoint(source, output=".", generic=True)
    with pytest.raises(UserError, match="a folder"):
        reverse_checkpoint(".")
    assert not list(tmp_path.glob(".*"))
