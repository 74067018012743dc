"""The porter's first users: our own nets of torch become what their twins are."""

import difflib

import pytest

pytest.importorskip("torch")

from commands.port.record import recorded
from port.port import write_port
from tests.paths import ROOT

MOST = 0.25  # of a file's lines may differ from the twin's: wrappers of ours, annotations, order


@pytest.mark.parametrize(
    "spec",
    [
        "torch_ref.models.unet:UNet",
        pytest.param("torch_ref.models.stdc:BiSeNet", marks=pytest.mark.prove),
    ],
)
def test_a_net_of_ours_reads_as_its_twin(spec):
    asked = {
        "spec": spec,
        "arguments": {},
        "shapes": [[[2, 3, 64, 64]]],
        "inputs": [],
        "weights": None,
        "modes": ["eval", "train"],
        "seed": 0,
        "path": [],
    }
    port = write_port(recorded(asked))
    assert [gap for gap in port.gaps if gap.ran] == []
    module = spec.partition(":")[0]
    path = f"{module.replace('.', '/')}.py"
    text = next(file.text for file in port.files if file.path == path)
    twin = (ROOT / path.replace("torch_ref", "paddle_impl")).read_text("utf-8")
    ours, theirs = code_of(text), code_of(twin)
    same = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    assert same > 1 - MOST, "\n".join(difflib.unified_diff(theirs, ours, lineterm=""))


def code_of(text):
    """Return the lines of code, without annotations' own words."""
    return [line.strip() for line in text.splitlines() if line.strip()]
