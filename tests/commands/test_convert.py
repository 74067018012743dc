"""The command: exit codes, the way back, proposals, values that are not finite."""

import json

import numpy as np
import pytest

from convert import read_checkpoint
from convert.formats.torch_save.write_zip import write_torch
from tests import nursery

pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

NET = """
import paddle
def net():
    made = paddle.nn.Layer()
    made.first, made.second = paddle.nn.Linear(3, 4), paddle.nn.Linear(4, 5)
    return made
"""
STATE = {
    "one.weight": np.arange(12, dtype="f4").reshape(4, 3),
    "one.bias": np.ones(4, "f4"),
    "two.weight": np.arange(20, dtype="f4").reshape(5, 4),
    "two.bias": np.ones(5, "f4"),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "strange.py").write_text(NET)
    write_torch(STATE, tmp_path / "a.pth")
    return tmp_path


def run(folder, *arguments):
    return nursery.run("convert_weights", *arguments, cwd=folder)


def test_a_strangers_net_by_a_proposal_and_back(folder):
    done = run(folder, "a.pth", "--model", "strange:net")
    assert (done.returncode, done.stdout) == (1, "")
    assert "one.weight (4, 3): in the file, but not in the net" in done.stderr
    assert not (folder / "a.pdparams").exists()
    done = run(folder, "a.pth", "--model", "strange:net", "--propose", "map.yml")
    assert done.returncode == 0, done.stderr
    assert "paired     2" in done.stdout
    done = run(folder, "a.pth", "--model", "strange:net", "--map", "map.yml", "--table")
    assert done.returncode == 0, done.stderr
    for said in ("verified   no", "one.weight", "transposed", "SHA-256"):
        assert said in done.stdout
    written = paddle.load(str(folder / "a.pdparams"), return_numpy=True)
    assert np.array_equal(written["first.weight"], STATE["one.weight"].T)
    (folder / "a.pdparams.account.json").unlink()
    back = ("--reverse", "--model", "strange:net", "--map", "map.yml", "-o", "b.pth")
    done = run(folder, "a.pdparams", *back)
    assert done.returncode == 0, done.stderr
    back = read_checkpoint(folder / "b.pth")
    assert set(back) == set(STATE)
    assert all(np.array_equal(back[key], STATE[key]) for key in STATE)


def test_values_that_are_not_finite(folder):
    weight = STATE["one.weight"].copy()
    weight[0, 0] = np.nan
    write_torch(STATE | {"one.weight": weight}, folder / "a.pth")
    done = run(folder, "a.pth", "--generic")
    assert done.returncode == 1
    assert "one.weight (1 of 12)" in done.stderr
    assert not list(folder.glob("*.pdparams*"))
    done = run(folder, "a.pth", "--generic", "--allow-nonfinite", "--no-checksum", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["not_finite"] == {"one.weight": 1}
    assert summary["source"]["sha256"] is summary["output"]["sha256"] is None
    back = read_checkpoint(folder / "a.pdparams")["one.weight"]
    assert back.T.tobytes() == weight.tobytes()


def test_safetensors_out_keeps_what_pdparams_would_lose(folder):
    import ml_dtypes

    eights = {k: v.astype(ml_dtypes.float8_e4m3fn) for k, v in STATE.items()}
    write_torch(eights, folder / "a.pth")
    done = run(folder, "a.pth", "--generic")
    assert done.returncode == 1
    assert "--output with .safetensors can" in done.stderr
    done = run(folder, "a.pth", "--generic", "--output", "a.safetensors")
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(folder / "a.safetensors")["one.weight"].shape == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.pth", "--propose", "map.yml"), "needs the net"),
        (("a.pth", "--account", "x.json"), "goes with --reverse"),
        (("a.pth", "--model", "strange:nothing"), "nothing"),
        (("a.pth", "--generic", "--model", "stdc1_seg"), "without a net"),
        (("a.pth", "--reverse"), "needs a file of paddle"),
        (("a.pth", "--map", "none.yml", "--generic"), "cannot read rules"),
        (("a.pth", "--generic", "--output", "a.pth", "--force"), "a.pth, which is read"),
    ],
)
def test_what_makes_no_sense_is_exit_2(folder, arguments, said):
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
