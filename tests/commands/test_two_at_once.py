"""Two runs that begin at one moment with one output: one writes it, the other is told."""

import json

import numpy as np
import pytest

from common.files import sha256_of
from convert.formats.safetensors import write_safetensors
from convert.outputs import account_path
from tests.commands.test_random_kills import EXPORT, Forked
from tests.commands.test_train_killed import NETS, SMALL
from tests.paths import TOOLS

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900), pytest.mark.xdist_group("clock")]
HELD = "another run writes there (process "
THERE = ("exists already", "is there already", "holds a run already")


def both(first, second, folder):
    """Run two commands at once; return what each came to, the winners first, and what they said.

    Who does not win says why.
    """
    said = [folder / "said.0", folder / "said.1"]
    runs = [Forked(words, err) for words, err in zip((first, second), said, strict=True)]
    codes = [run.end() for run in runs]
    for code, path in zip(codes, said, strict=True):
        text = path.read_text()
        assert code in (0, 2), text
        assert "Traceback" not in text
        assert code == 0 or HELD in text or any(words in text for words in THERE), text
        path.unlink()
    assert 0 in codes
    return codes


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for number in range(2):
        state = {f"{k}.weight": np.full((256, 256, 3, 3), number, "f4") for k in range(4)}
        write_safetensors(state, folder / f"{number}.safetensors", metadata={"format": "pt"})
    return [folder / f"{number}.safetensors" for number in range(2)]


@pytest.mark.parametrize("force", [False, True])
def test_conversions(sources, tmp_path, force):
    here = tmp_path / "here"
    here.mkdir()
    output = here / "out.pdparams"
    for _ in range(10):
        if not force:
            for path in list(here.iterdir()):
                path.unlink()
        more = ["-o", output, "--generic", "--no-verify", *(["--force"] if force else [])]
        codes = both(*([TOOLS / "convert_weights.py", one, *more] for one in sources), tmp_path)
        assert force or sorted(codes) == [0, 2]
        account = json.loads(account_path(output).read_text())
        assert account["output"]["sha256"] == sha256_of(output)
        winners = [str(s) for s, code in zip(sources, codes, strict=True) if code == 0]
        assert account["source"]["path"] in winners
        assert len(list(here.iterdir())) == 2


def test_exports(tmp_path):
    paddle = pytest.importorskip("paddle")
    import paddle_impl

    weights = tmp_path / "weights.pdparams"
    net = paddle_impl.build_model("unet", width=0.125, num_classes=19)
    paddle.save(net.state_dict(), str(weights))
    out = tmp_path / "here" / "out"
    words = [TOOLS / "export.py", *EXPORT.split(), "--weights", weights, "-o", out]
    assert sorted(both(words, words, tmp_path)) == [0, 2]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_trainings(tmp_path):
    pytest.importorskip("paddle")
    from common.data.toy import write_toy_cityscapes

    write_toy_cityscapes(tmp_path / "toy", train=6, val=2, size_hw=(64, 128))
    run = tmp_path / "run"
    words = [*NETS["narrow"].split(), f"data.root={tmp_path / 'toy'}", *SMALL.split()]
    words = [TOOLS / "train_paddle.py", *words, f"output={run}"]
    assert sorted(both(words, words, tmp_path)) == [0, 2]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 5  # three intervals, two validations
