"""Commands that are printed run when they are pasted, whatever the current folder has."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from common.words import typed
from tests.paths import ROOT, TOOLS

ROOMS = ("align", "commands", "common", "convert")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "tools").mkdir()  # a repository with tools/ of its own
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize(
    ("here", "called", "shown"),
    [
        (ROOT, "tools/report.py", "tools/reproduce.py"),
        (TOOLS, "report.py", "reproduce.py"),
        (ROOT / "docs", "../tools/report.py", "../tools/reproduce.py"),
        (ROOT / "docs", str(TOOLS / "report.py"), str(TOOLS / "reproduce.py")),
        (ROOT, "-c", "tools/reproduce.py"),
        (ROOT / "docs", "-c", str(TOOLS / "reproduce.py")),
    ],
)
def test_the_folder_is_the_one_that_was_typed(here, called, shown, monkeypatch):
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "argv", [called, "a b"])
    python, script, config = shlex.split(typed.command("reproduce", "my net.yml"))
    assert (script, config) == (shown, "my net.yml")
    assert Path(script).is_file()
    assert python in ("python", sys.executable) or Path(python).is_file()


def test_python_is_what_the_shell_finds(elsewhere):
    elsewhere.setenv("PATH", "")
    assert typed.command("report").split()[0] == sys.executable
    elsewhere.setenv("PATH", str(Path(sys.executable).parent))
    assert typed.command("report").split()[0] == "python"


def test_the_command_that_was_typed_can_be_pasted(elsewhere):
    elsewhere.setattr(sys, "argv", [str(TOOLS / "report.py"), "a b.json"])
    assert shlex.split(typed.command_line())[1:] == [str(TOOLS / "report.py"), "a b.json"]
    elsewhere.setattr(sys, "argv", ["mine.py", "1"])
    assert typed.command_line().endswith("mine.py 1")


def test_examples_of_the_help_can_be_pasted(elsewhere):
    done = subprocess.run(
        [sys.executable, TOOLS / "reproduce.py", "--help"], capture_output=True, text=True
    )
    example = done.stdout.partition("example:\n")[2].splitlines()[0]
    assert shlex.split(example)[1] == str(TOOLS / "reproduce.py")


def test_no_text_says_a_command_as_the_documentation_does():
    """What is printed goes through `command` or `as_typed`; examples of `--help` do in `entry`."""
    names = ("train", "deploy/benchmark", "deploy/export", "curves/command", "replay/command")
    names += ("evaluate/panoptic_files",)
    examples = {f"commands/{name}.py" for name in names}
    known = {*examples, "common/words/typed.py", "common/data/sets/cityscapes.py"}
    known |= {f"common/{kind}/sets/coco.py" for kind in ("instances", "panoptic")}
    found = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".py", ".json", ".js", ".html") and "python tools/" in path.read_text()
    }
    assert found == known


def test_what_paddle_warns_of_on_every_run_is_not_printed():
    said = "When training, we now always track global mean and variance."
    code = f"import commands.entry, warnings; warnings.warn({said!r}); warnings.warn('other')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "other" in done.stderr
    assert said not in done.stderr
