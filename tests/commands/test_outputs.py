"""No command writes over what it reads, nor over what it did not write, unless told to."""

import errno
import functools
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from align.judge.comparison import DIFFERS, EQUAL, Comparison
from align.report.report import Divergence, Report
from commands import entry, train
from commands.align import run
from commands.convert import run_conversion
from commands.convert_options import conversion_parser
from commands.report import is_ours, rebuild_pages
from common.errors import UserError
from common.files import check_outputs, sha256_of
from convert import convert_checkpoint
from convert.formats.safetensors import write_safetensors
from convert.reverse import reverse_checkpoint

STATE = {"fc.weight": np.ones((3, 2), "f4"), "fc.bias": np.ones(3, "f4")}


@pytest.fixture
def folder(tmp_path):
    write_safetensors(STATE, tmp_path / "a.safetensors", metadata={"format": "pt"})
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.exists()}


def refused(folder, output, said, path="a.safetensors", **options):
    before = contents(folder)
    with pytest.raises(UserError, match=said):
        convert_checkpoint(folder / path, folder / output, generic=True, **options)
    assert contents(folder) == before


@pytest.mark.parametrize("beside", ["account.json", "dropped.safetensors"])
def test_what_stands_beside_the_weights_is_not_lost(folder, beside):
    (folder / f"b.pdparams.{beside}").write_bytes(b"another's")
    refused(folder, "b.pdparams", "exists already; --force")
    convert_checkpoint(folder / "a.safetensors", folder / "b.pdparams", generic=True, force=True)


def test_a_dangling_link_is_there_too(folder):
    (folder / "b.pdparams").symlink_to(folder / "nowhere")
    refused(folder, "b.pdparams", "exists already")


def test_no_name_of_the_checkpoint_is_an_output(folder):
    os.link(folder / "a.safetensors", folder / "hard.pdparams")
    (folder / "soft.pdparams").symlink_to("a.safetensors")
    for output in ("a.safetensors", "hard.pdparams", "soft.pdparams"):
        refused(folder, output, "which is read", force=True)


@pytest.mark.parametrize("output", ["one.safetensors", "x.index.json", "r.yml"])
def test_a_shard_the_index_and_the_rules_are_read(folder, output):
    (folder / "a.safetensors").rename(folder / "one.safetensors")
    index = {"weight_map": dict.fromkeys(STATE, "one.safetensors")}
    (folder / "x.index.json").write_text(json.dumps(index))
    (folder / "r.yml").write_text("notes: [mine]\n")
    options = {"rules": folder / "r.yml", "force": True}
    refused(folder, output, "which is read", "x.index.json", **options)


def test_an_account_is_not_written_over_the_file_it_is_of(folder):
    (folder / "a.safetensors").rename(folder / "b.pdparams.account.json")
    refused(folder, "b.pdparams", "which is read", "b.pdparams.account.json", force=True)


def test_the_way_back_keeps_its_account(folder):
    convert_checkpoint(folder / "a.safetensors", folder / "b.pdparams", generic=True)
    before = contents(folder)
    account = folder / "b.pdparams.account.json"
    with pytest.raises(UserError, match="which is read"):
        reverse_checkpoint(folder / "b.pdparams", account, force=True)
    assert contents(folder) == before


def test_one_place_for_two_outputs(tmp_path):
    with pytest.raises(UserError, match="twice"):
        check_outputs([tmp_path / "a", tmp_path / "." / "b" / ".." / "a"])


def run_of(folder):
    from align.judge.words import Words
    from align.report.run import Run, Rung

    run = Run(Words.told("a run"))
    run.rungs.append(Rung("convert", 0, "fine", 1.0))
    run.to_json(folder / "run.json")


def rebuild(folder, output=None, junit=None, force=False, files=("run.json",)):
    """Run the flow of `report`."""
    files = [folder / name for name in files]
    output, junit = (one and folder / one for one in (output, junit))
    options = {"output": output, "junit": junit, "force": force, "json": True, "quiet": True}
    return rebuild_pages(SimpleNamespace(files=files, **options))


def test_a_page_does_not_replace_its_run_nor_anything_strange(tmp_path):
    run_of(tmp_path)
    (tmp_path / "thesis.html").write_text("<!doctype html>\n<p>mine")
    before = contents(tmp_path)
    for options in (
        {"output": "run.json", "force": True},
        {"junit": "run.json"},
        {"output": "x", "junit": "x"},
        {"output": "thesis.html"},
        {"files": ("run.json", "run.json"), "output": "run.json", "force": True},
        {"files": ("run.json", "run.json"), "output": "thesis.html"},
    ):
        with pytest.raises(UserError):
            rebuild(tmp_path, **options)
        assert contents(tmp_path) == before
    for _ in range(2):  # its own page and cases are replaced
        assert rebuild(tmp_path, junit="run.xml") == 0
    assert is_ours(tmp_path / "run.html")
    assert is_ours(tmp_path / "run.xml")
    assert rebuild(tmp_path, output="thesis.html", force=True) == 0


def test_a_fault_of_this_program_is_one_line_and_a_file(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fails = functools.partial(check_outputs, 5)  # as no command calls it
    assert entry.exit_code(fails) == entry.COULD_NOT_CHECK
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    (log,) = tmp_path.glob("t2p-*.log")
    assert str(log) in err
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("word", ["{}", "-o={}", "weights.path={}"])
def test_a_report_does_not_replace_what_the_command_names(tmp_path, monkeypatch, word):
    (tmp_path / "convert.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["x", word.format(tmp_path / "convert.json")])
    with pytest.raises(UserError, match="which is read"):
        entry.check_folder(tmp_path, ["convert"])
    assert (tmp_path / "convert.json").exists()


def test_drafts_of_a_report_of_a_killed_run_go_with_a_word(tmp_path, capsys):
    left, others = tmp_path / ".convert.html.4000000.part", tmp_path / ".else.html.4000000.part"
    for path in (left, others):
        path.write_text("half")
    entry.check_folder(tmp_path, ["convert"])
    assert list(tmp_path.iterdir()) == [others]
    assert f"removed, drafts of a run that was killed: {left}" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("count", [1, 99_999])
def test_results_that_nobody_takes_are_no_verdict(count, monkeypatch, capsys):
    """A redirection to a full disk; the exit code does not say that all was well."""
    with suppress(OSError), open("/dev/full", "w") as full:  # closing it fails, too
        monkeypatch.setattr(entry, "results", lambda: full)
        says = functools.partial(print, *range(count), file=full)
        assert entry.exit_code(says) == entry.COULD_NOT_CHECK
    why = "what was found cannot be written to standard output: No space left on device"
    assert capsys.readouterr().err == f"error: {why}\n"


@pytest.fixture
def full_disk(monkeypatch, request):
    """No draft of this file takes its name any more."""
    replace = Path.replace

    def full(self, target):
        if Path(target).name == request.param:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    return request.param


@pytest.mark.parametrize("full_disk", ["convert.html", "convert.xml"], indirect=True)
def test_a_conversion_stands_where_its_report_cannot_be_written(folder, full_disk, capsys):
    words = [folder / "a.safetensors", "--no-verify", "--generic", "--json", "--report", folder]
    given = conversion_parser("x").parse_args(list(map(str, words)))
    assert run_conversion(given) == entry.CHECKED_GOOD
    out, err = capsys.readouterr()
    assert json.loads(out)["output"]["sha256"] == sha256_of(folder / "a.pdparams")
    said = err.splitlines()[-1]
    assert said.startswith(f"error: no report was written: {folder / full_disk}: cannot be written")
    assert not list(folder.glob("convert.*"))


@pytest.mark.parametrize("full_disk", ["forward.json", "forward.png"], indirect=True)
@pytest.mark.parametrize("differs", [False, True])
def test_an_alignment_stands_where_its_report_cannot_be_written(
    tmp_path, full_disk, differs, capsys, monkeypatch
):
    report = Report("forward", settings={"model": "toy"})
    verdict, error = (DIFFERS, 1.0) if differs else (EQUAL, 0.0)
    where = ("conv", "conv", "output:0", "layer", (1,))
    report.calls.append(Comparison(*where, verdict, error, 1e-12))
    if differs:
        report.divergences.append(Divergence("conv", "output:0", 1.0, 1e-12))
    monkeypatch.setattr(run, "_align_row", lambda *given: report)
    given = dict.fromkeys(("propose", "all", "model", "weights", "torch"))
    given |= {"report": tmp_path, "json": True, "quiet": True}
    code = run.align_each(SimpleNamespace(**given), "forward", "a title", lambda *nets: report)
    assert code == int(differs)
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["stage"] == "forward"
    assert "error: no report was written" in err
    assert not list(tmp_path.glob("forward.*"))


def test_a_training_stands_where_its_report_cannot_be_written(tmp_path, monkeypatch, capsys):
    def full(*given):
        raise UserError("train.html: cannot be written: No space left on device")

    monkeypatch.setattr(train, "write_report", full)
    options = SimpleNamespace(report=tmp_path, json=True, quiet=True)
    train._tell(options, "toy", {"finished": True}, 1.0)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"finished": True}
    assert "error: no report was written: train.html" in err
