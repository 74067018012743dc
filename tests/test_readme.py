"""The README says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_model_table_is_what_the_script_writes():
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "docs/write_tables.py", "--check"], cwd=ROOT)
    assert done.returncode == 0, "run docs/write_tables.py"


def test_every_command_and_link_exists():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"python (tools/\w+\.py)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"(configs/\w+\.yml)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / path).exists(), path


def test_contributing_names_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"`make ([a-z0-9-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= targets
