"""The walk of examples/own_net/README.md: its mends, in its order, find what it says."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

pytest.importorskip("torch")
pytest.importorskip("paddle")

from align import align_backward, align_forward, align_training
from align.arrays.batch import as_batch
from align.pairing.fill import proposal
from align.pairing.reference_torch import LiveReference
from commands.align.proposal.calls_paddle import calls_of_port
from commands.align.proposal.calls_torch import calls_of_reference
from commands.subjects.own import build_pair, own_pair
from common.errors import ConversionError

EXAMPLE = ROOT / "examples" / "own_net"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
MENDS = re.findall(r"```diff\n-(.*)\n\+(.*)\n```", README)
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
FAULTS = {
    "conv1.bn": "epsilon",
    "conv2.bn": "epsilon",
    "pool": "count_include_pad",
    "blocks.0.attn": "divided by the root",
    "blocks.1.attn": "divided by the root",
    "": "another order",
    "fuse.bn": "epsilon",
}
MENDED_BY = [("conv1.bn", "conv2.bn", "fuse.bn"), ("pool",), ("blocks.0.attn", "blocks.1.attn")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("seg_torch.py", "seg_paddle.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the port changes within a second
    yield tmp_path
    forget()


def forget():
    for name in ("seg_torch", "seg_paddle"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def pair(rules=None):
    forget()
    return own_pair("seg_torch:build", "seg_paddle:build", rules=rules)


def mend(index):
    wrong, right = MENDS[index]
    path = Path("seg_paddle.py")
    text = path.read_text()
    assert text.count(wrong) == 1, wrong
    path.write_text(text.replace(wrong, right))


def rules_file():
    """Write the proposal as the README shows it."""
    forget()
    nets = build_pair("seg_torch:build", "seg_paddle:build")
    found = proposal(LiveReference(nets[0]), nets[1])
    assert (len(found.pairs), len(found.ambiguous)) == (9, 0)
    batch = as_batch([IMAGE], "float64")
    calls = calls_of_reference(nets[0], batch, False), calls_of_port(nets[1], batch, False)
    text = proposal(LiveReference(nets[0]), nets[1], None, calls).to_yaml()
    assert f"written: rules.yml: {text.splitlines()[1].removeprefix('# ').rstrip('.')}" in README
    shown = re.search(r"```yaml\n(renames:.*?)  # \.\.\. three more\n```", README, re.S).group(1)
    assert shown in text
    Path("rules.yml").write_text(text)
    return "rules.yml"


def blamed(report):
    return {d.layer: d.cause for d in report.divergences}


def test_the_walk(folder):
    assert len(MENDS) == 5
    with pytest.raises(ConversionError, match="blocks is a plain Python list of 2 layers"):
        pair()
    mend(0)
    with pytest.raises(ConversionError, match=r"(?s)Proposed, not adopted.*down\.norm: the only"):
        pair()
    rules = rules_file()
    left = dict(FAULTS)
    for index in range(1, 5):
        found = blamed(align_forward(*pair(rules), [IMAGE], rules=rules))
        assert set(found) == set(left)
        assert all(word in found[layer] for layer, word in left.items())
        for layer, cause in found.items():
            assert re.search(
                rf"(?m)^- {re.escape(layer or '(root)')} .*: {re.escape(cause)}$", README
            )
        mend(index)
        for layer in MENDED_BY[index - 1] if index < 4 else ("",):
            del left[layer]
    report = align_forward(*pair(rules), [IMAGE], rules=rules)
    assert report.exit_code == 0, report.verdict
    assert {"conv1.bn", "blocks.1.attn.out", "aux_classifier"} <= {c.layer for c in report.calls}

    nets = pair(rules)
    theirs, ours = sys.modules["seg_torch"], sys.modules["seg_paddle"]
    batch = [IMAGE, np.random.default_rng(0).integers(0, 5, (2, 32, 32))]
    report = align_backward(*nets, batch, theirs.loss, ours.loss, rules=rules)
    assert report.exit_code == 0, report.verdict
    optimizers = theirs.optimizer, ours.optimizer
    report = align_training(*nets, [batch], theirs.loss, ours.loss, *optimizers, rules=rules)
    assert report.exit_code == 0, report.verdict
    known = [note for note in report.notes if note.startswith("known difference")]
    assert len(known) == 1
    assert f"{511 / 512:.6g} of torch's, as predicted" in known[0]


def test_float32_is_shown_beside_torchs_own_noise(folder):
    from align.rungs.float32 import add_float32

    for index in range(5):
        mend(index)
    rules = rules_file()
    nets = pair(rules)
    report = align_forward(*nets, [IMAGE], rules=rules)
    calls = len(report.calls)
    add_float32(report, *nets, [IMAGE], rules=rules)
    figures = report.settings["float32"]["outputs"]
    assert len(report.calls) == calls
    assert len(figures) > 20
    assert all(0 <= figure["torch"] < 1e-4 and figure["port"] < 1e-4 for figure in figures)
    assert any(figure["torch"] > 1e-8 for figure in figures)
    assert any("torch's own float32 noise there" in note for note in report.notes)


def test_npy_pairs_are_as_reprod_log_reads_them(folder):
    from commands.align.reprod_log import export_forward, export_steps, write_pair
    from common.errors import UserError

    for index in range(5):
        mend(index)
    rules = rules_file()
    torch_path, paddle_path, log = export_forward("out", *pair(rules), [IMAGE], rules).paths
    theirs, ours = (np.load(path, allow_pickle=True).item() for path in (torch_path, paddle_path))
    assert list(theirs) == list(ours) == ["logits", "output_1"]
    assert theirs["logits"].shape == (2, 5, 32, 32)
    assert all(isinstance(array, np.ndarray) for array in (*theirs.values(), *ours.values()))
    assert np.abs(theirs["logits"] - ours["logits"]).mean() < 1e-6
    assert log.read_text().endswith("diff check passed\n")
    batch = [IMAGE, np.random.default_rng(0).integers(0, 5, (2, 32, 32))]
    own, sides = pair(rules), (sys.modules["seg_torch"], sys.modules["seg_paddle"])
    losses, optimizers = [s.loss for s in sides], [s.optimizer for s in sides]
    report = align_training(*own, [batch] * 2, *losses, *optimizers, rules=rules)
    written = export_steps("out", report)
    steps = np.load(written.paths[1], allow_pickle=True).item()
    assert steps.keys() == {"loss_0", "lr_0", "loss_1", "lr_1"}
    assert max(written.distances.values()) < 1e-6
    assert steps["lr_0"] == np.float32(0.01)
    with pytest.raises(UserError, match="only one side has b"):
        write_pair("out", "x", {"a": IMAGE}, {"a": IMAGE, "b": IMAGE})
