"""Conversion, alignment and training on GPUs: `make test-gpu`. Prints a table for docs/proof.

REHEARSE_ON_CPU=1 runs what a CPU can, to see that the file itself is sound: no proof of a GPU.
"""

import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

paddle = pytest.importorskip("paddle")
torch = pytest.importorskip("torch")

REHEARSAL = bool(os.environ.get("REHEARSE_ON_CPU"))
DEVICE = "cpu" if REHEARSAL else "gpu"
STEPS = 4 if REHEARSAL else 20
CONFIG = "configs/stdc1_toy.yml"
SIDES = ("paddle", "torch")
LAUNCHERS = {
    "torch": [str(Path(sys.executable).parent / "torchrun"), "--nproc_per_node", "2"],
    "paddle": [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"],
}
LIMIT_S = 1200


def _missing(side: str = "paddle") -> str:
    """Return why a side has no GPU here; empty where it has one."""
    if REHEARSAL:
        return ""
    if side == "torch":
        return "" if torch.cuda.is_available() else "torch sees no GPU, or is built for CPUs"
    if not paddle.is_compiled_with_cuda():
        return "this Paddle is built for CPUs: install the extra gpu in place of cpu"
    if paddle.device.cuda.device_count() == 0:
        return "Paddle sees no GPU on this machine"
    return ""


def _cards(side: str) -> int:
    if REHEARSAL:
        return 2
    return torch.cuda.device_count() if side == "torch" else paddle.device.cuda.device_count()


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(LIMIT_S + 60),
    pytest.mark.skipif(bool(_missing()), reason=_missing()),
]


def _card() -> str:
    if REHEARSAL:
        return "REHEARSAL ON A CPU: no proof"
    return f"{paddle.device.cuda.get_device_name()}, {_cards('paddle')} of them"


@pytest.fixture(scope="module")
def table(request):
    """Rows of (what, found); they are printed at the end as Markdown."""
    rows: list[tuple[str, str, float]] = []
    yield rows
    head = [
        f"{_card()}; paddle {paddle.__version__}, torch {torch.__version__}, {date.today()}",
        "",
        "| what | found | s |",
        "|---|---|---|",
    ]
    lines = [f"| {what} | {found} | {seconds:.0f} |" for what, found, seconds in rows]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n\n" + "\n".join([*head, *lines]) + "\n")


@pytest.fixture
def row(table, request):
    """Return a function that puts a row into the table, with the seconds since now."""
    since = time.monotonic()
    return lambda what, found: table.append((what, found, time.monotonic() - since))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from torch_ref.seeded import build_seeded

    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(build_seeded("stdc1_seg", 0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    from common.data.toy import write_toy_cityscapes

    folder = tmp_path_factory.mktemp("data") / "toy_cityscapes"
    write_toy_cityscapes(folder, train=8, val=2, size_hw=(128, 256))
    return folder


def train(side, toy, output, *more, launcher=(), code=0):
    """Run a training command; return its log of iterations, and images a second."""
    command = [
        *(launcher or [sys.executable]),
        f"tools/train_{side}.py",
        *(CONFIG, f"data.root={toy}", f"output={output}", "data.crop_hw=[64,128]"),
        *(f"train.iterations={STEPS}", f"train.eval_interval={STEPS}", "train.log_interval=1"),
        *("data.batch_size=2", "schedule.warmup_steps=2", "--device", DEVICE, "--quiet", *more),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        return done.stderr
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    speed = [json.loads(line) for line in (output / "speed.jsonl").read_text().splitlines()]
    losses = np.array([line["loss"] for line in log if "lr" in line])
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    return losses, float(np.median([line["images_per_s"] for line in speed[1:]]))


def needs(side, cards=1):
    """Skip where a side has not so many GPUs."""
    if _missing(side) or _cards(side) < cards:
        pytest.skip(_missing(side) or f"{_cards(side)} GPU, and this takes {cards}")


def test_conversion_is_verified(checkpoint, tmp_path, row):
    from convert import convert_checkpoint

    paddle.set_device(DEVICE)
    output = tmp_path / "model.pdparams"
    convert_checkpoint(checkpoint, output, verify=True)
    assert output.exists()
    row("convert, verified by running both nets in float64", "equal")


@pytest.mark.parametrize(
    ("rung", "dtype"),
    [
        ("forward, eval", "float64"),
        ("forward, train", "float64"),
        ("backward", "float64"),
        ("forward, eval", "float32"),
    ],
)
def test_paddle_on_the_card_is_aligned(row, rung, dtype):
    """The reference runs on the CPU; float32 is judged by its own distance from float64.

    In train mode a BatchNorm over two values has nothing but rounding in float32.
    """
    from align import align_backward, align_forward
    from commands.subjects.rows import seeded_pair

    paddle.set_device(DEVICE)
    inputs = [np.random.default_rng(0).standard_normal((2, 3, 64, 96))]
    pair = seeded_pair("stdc1_seg", 0)
    if rung == "backward":
        report = align_backward(*pair, inputs)
    else:
        report = align_forward(*pair, inputs, train=rung.endswith("train"), dtype=dtype)
    worst = max((d.relative_error for d in report.divergences), default=0.0)
    row(f"align, {rung}, {dtype}", f"exit {report.exit_code}, worst divergence {worst:.1e}")
    assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("side", SIDES)
def test_twenty_training_steps(side, toy, tmp_path, row):
    needs(side)
    losses, speed = train(side, toy, tmp_path / "run")
    row(f"{STEPS} steps, {side}, float32", f"loss {losses[-1]:.4f}, {speed:.1f} images/s")


@pytest.mark.parametrize("side", SIDES)
def test_both_sides_begin_alike(side, toy, tmp_path, row, checkpoint):
    """The first loss on the card is that of the CPU, from the same weights."""
    needs(side)
    first, _ = train(side, toy, tmp_path / "card", f"weights.path={checkpoint}")
    other = ["train.precision=float32", f"weights.path={checkpoint}", "--device", "cpu"]
    second, _ = train(side, toy, tmp_path / "cpu", *other)
    off = abs(first[0] - second[0]) / abs(second[0])
    row(f"first loss on the card and on the CPU, {side}", f"{off:.1e} apart")
    assert off < 1e-3


@pytest.mark.parametrize("level", ["amp_o1", "amp_o2"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("side", SIDES)
def test_mixed_precision(side, level, dtype, toy, tmp_path, row):
    """Its loss stays near that of float32; on a CPU Paddle's is refused."""
    needs(side)
    given = [f"train.precision={level}", f"train.amp.dtype={dtype}"]
    if REHEARSAL and side == "paddle":
        said = train(side, toy, tmp_path / "amp", *given, code=2)
        row(f"{level}, {dtype}, {side}", f"refused: {said.strip().splitlines()[-1][:60]}")
        return
    losses, speed = train(side, toy, tmp_path / "amp", *given)
    plain, _ = train(side, toy, tmp_path / "plain")
    off = float(np.abs(losses - plain).max() / np.abs(plain).max())
    row(f"{level}, {dtype}, {side}", f"{off:.1e} from float32, {speed:.1f} images/s")
    assert off < 0.2


@pytest.mark.parametrize("side", SIDES)
def test_two_cards(side, toy, tmp_path, row):
    """The recipe of two cards, on two and on one: only the heads' BatchNorms see other images."""
    needs(side, cards=2)
    given = ["data.cards=2", "processes.sync_norm=null"]
    log = ["--log_dir", str(tmp_path / "logs")] if side == "paddle" else []
    launcher = [*LAUNCHERS[side], *log]
    both, speed = train(side, toy, tmp_path / "two", *given, launcher=launcher)
    one, alone = train(side, toy, tmp_path / "one", *given)
    off = float(np.abs(both - one).max() / np.abs(one).max())
    found = f"{off:.1e} apart, {speed:.1f} images/s on two, {alone:.1f} on one"
    row(f"two cards, {side}, without synchronised norms", found)
    assert off < 1e-2
    synced, _ = train(side, toy, tmp_path / "sync", "data.cards=2", launcher=launcher)
    row(f"two cards, {side}, heads synchronised", f"loss {synced[-1]:.4f}")
