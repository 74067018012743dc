"""The table of differences: every row has its test, every test its row, and the page is fresh."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.paths import ROOT

SECTIONS = yaml.safe_load((ROOT / "docs" / "differences.yml").read_text(encoding="utf-8"))
ROWS = [row for section in SECTIONS for row in section["rows"]]
NEEDED = {"test", "torch", "paddle", "effect", "fix"}
VERSIONS = {"2.6.2", "3.3.1"}


def test_every_row_has_a_test_and_every_test_a_row():
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    text = "\n".join(p.read_text(encoding="utf-8") for p in files if p != Path(__file__))
    shown = re.findall(r"^def test_(\w+)", text, flags=re.M)
    named = [row["test"] for row in ROWS]
    assert sorted(named) == sorted(shown)
    assert len(set(named)) == len(named) >= 60


def test_rows_are_whole():
    for row in ROWS:
        assert row.keys() >= NEEDED, row
        assert row.keys() - NEEDED <= {"holds", "paddle26"}, row
        assert len(row["torch"]) == len(row["paddle"]) == 2, row
        assert all(row[name] for name in NEEDED), row
        assert set(row.get("holds", VERSIONS)) <= VERSIONS, row


def test_page_is_what_the_script_writes():
    done = subprocess.run([sys.executable, "docs/write_differences.py", "--check"], cwd=ROOT)
    assert done.returncode == 0, "run docs/write_differences.py"
