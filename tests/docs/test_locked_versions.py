"""What CI installs is pinned, with hashes: locked files, constraints, what the project asks for."""

import re
import runpy
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None

LOCK = runpy.run_path(str(ROOT / "requirements" / "lock.py"))
LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


def locked(path):
    """{package: version} of a locked file, in which every line says a hash."""
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# What constraints")
    found = [LINE.fullmatch(line) for line in lines[1:]]
    assert all(found), path.name
    return {canonicalize_name(match[1]): match[2] for match in found}


def constrained(name):
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if "==" in line]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def files():
    return sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_locks_and_constraints_say_the_same_of_all_that_is_installed(path):
    constraints = "constraints-paddle26.txt" if "paddle26" in path.stem else "constraints.txt"
    found, pinned = locked(path), constrained(constraints)
    public = {name: version.partition("+")[0] for name, version in found.items()}
    assert public == {name: pinned.get(name) for name in found}
    assert "setuptools" in found  # builds the project


@pytest.mark.skipif(tomllib is None, reason="Python 3.10 does not read TOML")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_all_that_the_project_asks_for_is_locked(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    end = "-paddle26" if "paddle26" in path.stem else ""
    extras = next(extras for tail, extras in LOCK["LOCKS"].values() if tail == end)
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in extras.split(","):
        asked += project["project"]["optional-dependencies"][extra]
    found = locked(path)
    for requirement in map(Requirement, asked):
        version = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (requirement, version)
    texts = {
        text for text in (ROOT / "Makefile").read_text("utf-8").splitlines() if ":= torch" in text
    }
    assert any(text.endswith(f":= {extras}") for text in texts)


def test_no_place_of_an_index_stands_in_a_lock():
    for path in (*files(), ROOT / "requirements" / "lock.py", *ROOT.glob("constraints*.txt")):
        assert "://" not in path.read_text("utf-8"), path.name


def test_without_a_lock_or_its_build_of_torch_it_is_said(tmp_path):
    """Then the constraints say the versions, and no hash is checked."""
    ask = [sys.executable, ROOT / "requirements" / "lock.py"]
    assert re.fullmatch(
        r"\w+-\w+-py\d+\n", subprocess.run([*ask, "--place"], capture_output=True, text=True).stdout
    )
    absent = subprocess.run([*ask, "--fits", "no.txt"], capture_output=True, text=True)
    assert (absent.returncode, "no hash is checked" in absent.stdout) == (1, True)
