"""Damaged and hostile files: no code runs, and the end is a clear message or the right arrays."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConversionError, UserError
from convert import convert_checkpoint, read_checkpoint
from tests.convert.formats import hostile
from tests.paths import ROOT

torch = pytest.importorskip("torch")

# By the clock or by signals: not beside its like.
SECONDS, MEGABYTES = 10, 500
MESSAGE = 3000  # characters


def outcome(path, expected):
    """Return "refused", "misfit", "same" or, where no check can see it, "unseen"."""
    output = path.with_name("out.pdparams")
    caught = None
    try:
        convert_checkpoint(path, output, generic=True, force=True, allow_nonfinite=True)
    except UserError as error:
        caught = error
    if caught is not None:
        assert not output.exists()
        assert str(path) in str(caught) or isinstance(caught, ConversionError)
        assert len(str(caught)) < MESSAGE
        return "misfit" if isinstance(caught, ConversionError) else "refused"
    arrays = read_checkpoint(path)
    output.unlink()
    if set(arrays) != set(expected):
        return "misfit"  # a net would not take it
    same = all(
        arrays[key].dtype == array.dtype
        and arrays[key].shape == array.shape
        and arrays[key].tobytes() == array.tobytes()
        for key, array in expected.items()
    )
    return "same" if same else "unseen"


def run_all(folder, every):
    """Return {name: outcome} of the corpus, see `hostile.corpus`."""
    mark = folder / "ran"
    expected = hostile.state_of()
    found = {}
    for name, data in hostile.corpus(folder, mark, every).items():
        path = folder / name.rpartition(" ")[2]
        path.write_bytes(data)
        start = time.perf_counter()
        found[name] = outcome(path, expected)
        assert time.perf_counter() - start < SECONDS, name
        assert not mark.exists(), name
        path.unlink()
    return found


@pytest.fixture(scope="module", params=[pytest.param(1, marks=pytest.mark.prove), 3])
def ended(request, tmp_path_factory):
    """What became of the corpus in a process of its own, so that its memory can be told."""
    code = "import sys; from tests.convert.formats import test_hostile as t; t.alone(*sys.argv[1:])"
    command = [sys.executable, "-W", "ignore:Duplicate name", "-c", code]
    command += [str(tmp_path_factory.mktemp("corpus")), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {"every": request.param, **json.loads(done.stdout)}


def test_the_whole_corpus(ended):
    found = ended["found"]
    assert len(found) >= 500 / ended["every"]
    for name, end in found.items():
        if name.startswith("cut at"):
            assert end == "refused", name
        if "zip.pth" in name:  # it has CRCs
            assert end != "unseen", name
    unseen = [name for name, end in found.items() if end == "unseen"]
    # Payload flips and the like in formats without a CRC: no check can see them.
    assert all(name.startswith("flip at") for name in unseen)
    assert set(found.values()) == {"refused", "misfit", "same", "unseen"}
    crafted = [n for n in found if not n.startswith(("cut at", "flip at", "end record"))]
    harmless = {n for n in crafted if found[n] == "same"}
    assert harmless <= {
        f"{name} zip.pth" for name in ("many members", "data behind", "data before", "bomb beside")
    }


def alone(folder, every):
    """Run the corpus and print what `ended` returns."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = run_all(Path(folder), int(every))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"found": found, "megabytes": (after - before) / 1024}))


def test_memory_stays_bounded(ended):
    assert ended["megabytes"] < MEGABYTES


def test_the_undamaged_files_are_read(tmp_path):
    for name, data in hostile.good_files(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        found = read_checkpoint(tmp_path / name)
        for key, array in hostile.state_of().items():
            assert np.array_equal(found[key], array)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["os.system", "eval", "getattr", "load from bytes", "INST"])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_the_message_names_the_global_and_the_way_out(tmp_path, name, kind):
    data = hostile.corpus(tmp_path, tmp_path / "ran")[f"{name} {kind}.pth"]
    (tmp_path / "m.pth").write_bytes(data)
    with pytest.raises(
        UserError, match=r"(?s)asks for \S+\. Nothing was run.*torch\.save"
    ) as caught:
        read_checkpoint(tmp_path / "m.pth")
    assert caught.value.exit_code == 2
