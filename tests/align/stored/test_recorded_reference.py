"""A reference that was recorded, and ports that are judged by the recording."""

import json
import shutil
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward, force_trace, judge_trace, record_trace
from align.pairing.by_path import Pairing
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from align.stored.arrays import ArrayWriter, StoredArrays
from align.stored.files import read_manifest
from align.stored.format import decode, encode
from align.stored.reference import StoredReference
from align.trial.lost_layers import unseen
from common.errors import ConversionError, UnreadableError, UserError
from tests.align.stored.trace_nets import PADDLE, TORCH

IMAGE = np.random.default_rng(0).standard_normal((3, 3, 6, 5))
LABEL = np.array([1, 0, 3])
INPUTS = [IMAGE, LABEL]


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Both modules of nets, from files: messages name their lines."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "net_torch.py").write_text(TORCH)
    (folder / "net_paddle.py").write_text(PADDLE)
    sys.path.insert(0, str(folder))
    for name in ("net_torch", "net_paddle"):  # that another test's folder may have had
        sys.modules.pop(name, None)
    import net_paddle
    import net_torch

    yield net_torch, net_paddle
    sys.path.remove(str(folder))
    for name in ("net_torch", "net_paddle"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def reference(nets):
    torch.manual_seed(0)
    net = nets[0].Net()
    with torch.no_grad():
        net.block.bn.running_mean.normal_()
        net.block.bn.running_var.uniform_(0.5, 2.0)
        net.block.bn.weight.normal_()
    return net


@pytest.fixture(scope="module")
def traces(reference, tmp_path_factory):
    """{(train, backward): folder}, recorded when asked for."""
    found = {}

    def trace(train, backward):
        if (train, backward) not in found:
            folder = tmp_path_factory.mktemp("trace") / "trace"
            record_trace(reference, INPUTS, folder, train=train, backward=backward)
            found[train, backward] = folder
        return found[train, backward]

    return trace


def live(reference, port, train, backward):
    fill_port(LiveReference(reference), port)
    stage = align_backward if backward else align_forward
    return stage(reference, port, INPUTS, train=train)


def findings(report):
    return {(d.layer, d.where, d.call): d.cause for d in report.divergences}


def verdicts(report):
    return {(call.layer, call.call, call.where): call.verdict for call in report.calls}


def agree(stored, said):
    """A recording does not hold the reference's code: of a cause the live one may tell more."""
    ours, theirs = findings(stored), findings(said)
    assert ours.keys() == theirs.keys()
    return all(cause is None or theirs[place] for place, cause in ours.items())


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("port", ["Net", "Faulty"])
def test_recorded_and_live_reference_give_the_same_report(
    nets, reference, traces, port, train, backward
):
    make = getattr(nets[1], port)
    said = live(reference, make(), train, backward)
    found = force_trace(make(), traces(train, backward))
    assert found.exit_code == said.exit_code == (port == "Faulty"), found.verdict
    assert verdicts(found) == verdicts(said)
    assert agree(found, said)
    assert [d.torch_source for d in found.divergences] == [d.torch_source for d in said.divergences]
    assert {path: layer.attributes for path, layer in found.layers.items()} == {
        path: {name: tuple(both) for name, both in layer.attributes.items()}
        for path, layer in said.layers.items()
    }


def test_layer_whose_result_nobody_uses_is_missed_as_live(nets, reference, traces):
    said = live(reference, nets[1].WithoutAux(), False, False)
    found = force_trace(nets[1].WithoutAux(), traces(False, False))
    assert set(findings(said)) == {("", "calls", "aux#0")}
    assert findings(found) == findings(said)


def test_layer_of_which_the_trace_does_not_tell_is_could_not_check(traces):
    stored = StoredReference(traces(False, False))
    numbers = {call.path: n for n, call in enumerate(stored.manifest.calls)}
    act = stored.manifest.calls[numbers["mix.1"]]
    act.enters = []  # as of code under no_grad
    stored.manifest.calls[numbers["aux"]].feeds = [(numbers["mix.1"], "input")]
    assert stored.is_used("aux", set(stored.paths) - {"aux"}) is True
    assert stored.is_used("aux", set(stored.paths) - {"aux", "mix.1"}) is None
    every = {path: group for group, path in enumerate(stored.paths) if path != "aux"}
    found = SimpleNamespace(trace=stored.trace, judged=Pairing(every, every))
    (only,) = unseen(found, lambda path: None)
    assert (only.verdict, only.layer) == ("unchecked", "")
    assert "does not say" in only.cause


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_port_with_fewer_modules_is_no_false_alarm(nets, traces, train, backward):
    report = force_trace(nets[1].Fewer(), traces(train, backward))
    assert report.exit_code == 0, report.verdict


def test_fault_of_ten_floors_is_found_in_a_port_with_fewer_modules(nets, traces):
    port = nets[1].Fewer()
    report = force_trace(port, traces(False, False))
    place = next(c for c in report.calls if c.call == "#0" and c.where == "output:2")
    assert place.floor < 1e-12
    port.off = 10 * place.floor * place.scale
    report = force_trace(port, traces(False, False))
    assert "" in {d.layer for d in report.divergences}


def test_weights_of_another_net_do_not_fit(traces):
    with pytest.raises(ConversionError, match="block"):
        force_trace(paddle.nn.Linear(4, 4), traces(False, False))


def test_reference_and_port_are_left_as_they_were(nets, reference, tmp_path):
    before = {key: value.clone() for key, value in reference.state_dict().items()}
    record_trace(reference, INPUTS, tmp_path / "trace", train=True, backward=True)
    assert reference.training
    assert all(p.grad is None for p in reference.parameters())
    assert all(torch.equal(value, before[key]) for key, value in reference.state_dict().items())
    port = nets[1].Net()
    force_trace(port, tmp_path / "trace")
    variance = reference.block.bn.running_var.numpy()
    assert np.array_equal(port.block.bn._variance.numpy(), variance)
    assert str(port.block.conv.weight.dtype) == "paddle.float32"


def test_loss_is_part_of_a_trace_that_was_recorded_with_one(nets, reference, tmp_path):
    theirs, ours = nets
    inputs = [*INPUTS, LABEL]
    folder = record_trace(
        reference, inputs, tmp_path / "trace", backward=True, torch_loss=theirs.loss
    )
    with pytest.raises(UserError, match="with a loss"):
        force_trace(ours.Net(), folder)
    said = align_backward(
        reference, filled(reference, ours.Faulty()), inputs, theirs.loss, ours.loss, train=False
    )
    found = force_trace(ours.Faulty(), folder, loss=ours.loss)
    assert agree(found, said)
    assert force_trace(ours.Net(), folder, loss=ours.loss).exit_code == 0


def filled(reference, port):
    fill_port(LiveReference(reference), port)
    return port


def test_judged_again_without_running_it_is_the_same_report(nets, traces, tmp_path):
    folder = tmp_path / "trace"
    shutil.copytree(traces(True, True), folder)
    with pytest.raises(UnreadableError, match="--keep"):
        judge_trace(folder)
    said = force_trace(nets[1].Faulty(), folder, keep=True)
    assert judge_trace(folder).to_dict() == said.to_dict()

    manifest = json.loads((folder / "port" / "manifest.json").read_text())
    healthy = next(row for row in manifest["kept"] if row["verdict"] == "equal")
    other = next(row for row in manifest["kept"] if row["verdict"] == "differs")
    healthy["port"] = other["port"]
    (folder / "port" / "manifest.json").write_text(json.dumps(manifest))
    again = judge_trace(folder)  # it compares, it does not repeat what was said
    call = again.calls[healthy["call"]]
    assert call.verdict == "differs"
    assert (call.layer, call.where, call.call) in findings(again)


def test_what_was_kept_of_another_recording_is_refused(nets, reference, traces, tmp_path):
    folder = tmp_path / "trace"
    shutil.copytree(traces(False, False), folder)
    force_trace(nets[1].Net(), folder, keep=True)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")
    with pytest.raises(UnreadableError, match="another recording"):
        judge_trace(folder)


def test_every_dtype_and_shape_comes_back_once(tmp_path):
    arrays = {
        "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3),
        "bool": np.array([True, False]),
        "int64": np.array([-1, 2**62]),
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 3)),
        "complex128": np.array([[1 + 2j, np.nan]]),
        "infinite": np.array([np.inf, -np.inf, np.nan, -0.0]),
    }
    writer = ArrayWriter(tmp_path, limit=40)
    names = {key: writer.add(array) for key, array in arrays.items()}
    assert writer.add(arrays["infinite"].copy()) == names["infinite"]
    assert writer.add(np.zeros((3, 0))) != names["empty"]
    shards = writer.finish()
    assert len(shards) > 2
    back = StoredArrays(tmp_path, shards, writer.complex128)
    for key, array in arrays.items():
        found = back[names[key]]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


def test_output_that_is_the_next_input_is_stored_once(traces):
    calls = {(c.path, c.index): c for c in read_manifest(traces(False, False)).calls}
    assert calls["block.conv", 0].outputs == calls["block.bn", 0].inputs
    assert calls["block", 0].outputs == calls["aux", 0].inputs


def test_trees_come_back_as_plain_data():
    def leaf(value):
        return {"tensor": 0} if isinstance(value, np.ndarray) else None

    tree = {"a": [1, float("nan"), None], 3: (np.ones(1), "text", 1 + 2j, True)}
    text = json.dumps(encode(tree, leaf), allow_nan=False)
    back = decode(json.loads(text), lambda tag, value: f"{tag} {value}")
    assert back[3] == ("tensor 0", "text", 1 + 2j, True)
    assert back["a"][0] == 1
    assert np.isnan(back["a"][1])
    with pytest.raises(ValueError, match="no tree"):
        decode([], lambda tag, value: None)


def cut(folder):
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])


def flip(folder):
    path = next(folder.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose(folder):
    next(folder.glob("*.safetensors")).unlink()


def change(**entries):
    def damage(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return damage


def strange_array(folder):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["calls"][0]["inputs"][0] = "arrays.999"
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "copy the whole folder again"),
        (flip, "SHA-256"),
        (lose, "No such file"),
        (lambda folder: (folder / "manifest.json").unlink(), "--record"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not JSON"),
        (change(schema=2), "schema 2, this version reads 1"),
        (change(kind="report"), "is no trace"),
        (change(train="yes, please"), "damaged at train"),
        (change(calls=[]), "the root was never called"),
        (change(shards=[{"file": "../x", "bytes": 1, "sha256": ""}]), "not beside it"),
        (strange_array, "no file holds it"),
    ],
)
def test_damaged_trace_is_one_message(nets, traces, tmp_path, damage, words):
    folder = tmp_path / "trace"
    shutil.copytree(traces(False, False), folder)
    damage(folder)
    with pytest.raises(UnreadableError, match=words):
        force_trace(nets[1].Net(), folder)


def test_folder_that_holds_something_else_is_not_replaced(reference, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds no trace"):
        record_trace(reference, INPUTS, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_trace_appears_when_it_is_whole(reference, tmp_path):
    with pytest.raises(TypeError, match="label"):
        record_trace(reference, [IMAGE], tmp_path / "trace")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.prove
def test_recorded_and_live_reference_agree_on_every_small_fault(tmp_path):
    from tests.faults import ALL, SUBJECTS

    stages = {"forward": (False, False), "train": (True, False), "backward": (True, True)}
    traces = {}
    chosen = [(fault, stage) for fault in ALL for stage in fault.blame if stage in stages]
    for fault, stage in chosen:
        if fault.subject == "stdc":
            continue
        subject, (train, backward) = SUBJECTS[fault.subject](), stages[stage]
        if (fault.subject, stage) not in traces:
            folder = tmp_path / f"{fault.subject}_{stage}"
            how = {"train": train, "backward": backward}
            record_trace(subject.torch_net, subject.inputs, folder, **how)
            traces[fault.subject, stage] = StoredReference(folder)
        fault.apply(subject)
        align = align_backward if backward else align_forward
        said = align(subject.torch_net, subject.paddle_net, subject.inputs, train=train)
        found = force_trace(subject.paddle_net, traces[fault.subject, stage], fill=False)
        if fault.subject == "fresh" and not backward:  # live nets are given others than zeros
            assert found.exit_code == 2, (fault.name, stage)
            continue
        assert agree(found, said), (fault.name, stage)
        assert found.exit_code == said.exit_code, (fault.name, stage)
    assert len(traces) >= 3
