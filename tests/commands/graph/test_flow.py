"""A conversion from end to end, with a converter that only tests have in the place of X2Paddle."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.graph import command, flow
from common.errors import UserError
from common.words import language
from convert.formats.pdparams import write_pdparams
from port.graph.contain import KERNEL, Ended
from port.graph.folder import GUIDE, REPORT, WEIGHTS
from tests.commands.graph.nets_torch import CODE, NAMES

SPEC = "tests.commands.graph.nets_torch:Small"


@pytest.fixture
def converter(monkeypatch):
    """Let a function of the test write what X2Paddle would have written."""

    def put(code=CODE, change=None, said="", error="", ended=0, op=""):
        def run(command, work, seconds, environment):
            if code is not None:
                folder = work / "written"
                folder.mkdir()
                (folder / "x2paddle_code.py").write_text(code)
                with np.load(work / "state.npz") as state:
                    arrays = {NAMES[name]: state[name] for name in NAMES}
                arrays["linear0.weight"] = arrays["linear0.weight"].T.copy()
                write_pdparams(arrays | (change or {}), folder / "model.pdparams")
            result = {"error": error, "op": op, "network": KERNEL, "version": "1.6.0"}
            (work / "result.json").write_text(json.dumps(result))
            return Ended(ended, said, 1.0)

        monkeypatch.setattr(flow, "run_contained", run)
        monkeypatch.setattr(flow, "_require_installed", lambda kind: None)

    return put


@pytest.fixture
def chinese(monkeypatch):
    """Print in Chinese; by default a test is in English."""
    return lambda: monkeypatch.setattr(language, "_chosen", [language.CHINESE])


def convert(folder, force=False, eval_only=False, spec=SPEC, **arguments):
    asked = {
        "kind": "torch", "spec": spec, "arguments": arguments, "shapes": [[[2, 2, 6, 6]]],
        "inputs": [], "also": [], "weights": None, "eval_only": eval_only, "seed": 0,
        "timeout": 9.0, "path": [],
    }  # fmt: skip
    return flow.convert_graph(asked, folder, force, lambda words: None)


def codes(done):
    return {row["name"]: row["code"] for row in done["rows"]}


def test_a_net_is_mended_shown_equal_and_handed_over(converter, tmp_path):
    converter()
    done = convert(tmp_path / "made")
    assert done["code"] == 0, done["rows"]
    assert codes(done) == dict.fromkeys(
        (
            *("forward, eval mode", "backward, eval mode", "forward, train mode"),
            *("backward, train mode", "running statistics"),
        ),
        0,
    )
    assert any("momentum was 0.1" in one for one in done["mended"])
    assert {way["name"]: way["target"] for way in done["tensors"] if way["target"]} == NAMES
    assert done["counts"] == {"renamed": 7, "transposed": 1, "left out": 1}
    assert json.loads((tmp_path / "made" / REPORT).read_text())["code"] == 0
    assert "momentum was 0.1" in (tmp_path / "made" / GUIDE).read_text()


def test_what_was_mended_and_is_to_know_is_said_in_chinese_too(converter, chinese, tmp_path):
    converter(CODE.replace("momentum=0.1", "momentum=0.1, epsilon=0.5"))
    done = convert(tmp_path / "made", spec=f"{SPEC[:-5]}WithTrainHead")
    chinese()
    lines = [line.partition(": ")[2] for line in done["mended"]] + done["notes"]
    assert len(lines) > 5
    assert [line for line in lines if command.parts_said(line) == line] == []


def test_the_folder_builds_the_net_by_itself(converter, tmp_path):
    import paddle

    from commands.graph.port_paddle import load_builder

    converter()
    convert(tmp_path / "made_alone")
    net = load_builder(tmp_path / "made_alone")
    state = paddle.load(str(tmp_path / "made_alone" / WEIGHTS))
    assert net.set_state_dict(state) == ([], [])
    assert net.batchnorm0._momentum == 0.9
    assert net.x9.stop_gradient
    assert net(paddle.ones([1, 2, 5, 5])).shape == [1, 4]


@pytest.mark.parametrize(
    ("wrong", "right", "differ"),
    [
        ("axis=[2, 3])", "axis=[2, 3]) * 1.001", "forward, eval mode"),
        ("num_channels=3, ", "num_channels=3, use_global_stats=True, ", "forward, train mode"),
        ("self.relu0(self.b", "self.relu0(self.b", ""),
        ("paddle.mean(x=x1", "paddle.mean(x=x1.detach()", "backward, eval mode"),
    ],
)
def test_a_wrong_net_is_found(converter, tmp_path, wrong, right, differ):
    assert wrong in CODE
    converter(CODE.replace(wrong, right))
    done = convert(tmp_path / "made")
    assert done["code"] == (1 if differ else 0)
    assert not differ or codes(done)[differ] == 1


def test_a_momentum_that_stays_wrong_is_found(converter, tmp_path, monkeypatch):
    mend = flow.mend
    monkeypatch.setattr(flow, "mend", lambda text, norms, *more: mend(text, {}, *more))
    converter()
    done = convert(tmp_path / "made")
    assert done["code"] == 1
    assert codes(done)["running statistics"] == 1


def test_weights_of_another_size_are_not_checked(converter, tmp_path):
    converter(change={"batchnorm0._mean": np.zeros(3, np.float32)})
    assert convert(tmp_path / "made")["code"] == 1
    converter(CODE.replace("relu0(self", "relu1(self"))
    done = convert(tmp_path / "other")
    assert done["code"] == 2
    assert "relu1" in done["rows"][0]["where"]


def test_random_code_is_no_proof_and_eval_mode_alone_can_be_asked_for(converter, tmp_path):
    converter()
    done = convert(tmp_path / "made", rate=0.5)
    assert done["code"] == 1
    assert codes(done)["forward, eval mode"] == 0
    done = convert(tmp_path / "made", force=True, eval_only=True, rate=0.5)
    assert done["code"] == 0
    assert set(codes(done)) == {"forward, eval mode", "backward, eval mode"}


def test_a_head_of_train_mode_alone_is_not_missed(converter, tmp_path):
    converter()
    done = convert(tmp_path / "made", spec=f"{SPEC[:-5]}WithTrainHead")
    assert done["code"] == 0, done["rows"]
    assert any("no output is made of" in one and one.endswith(": head") for one in done["notes"])
    reasons = {way["name"]: way["reason"] for way in done["tensors"]}
    assert reasons["head.weight"] == "of a layer that eval mode does not call"


def test_statistics_that_eval_mode_reads_and_the_net_lacks_are_not_checked(converter, tmp_path):
    converter()
    done = convert(tmp_path / "made", spec=f"{SPEC[:-5]}WithTrainHead", read=True)
    assert done["code"] == 2, done["rows"]
    assert codes(done)["running statistics"] == 2


@pytest.mark.parametrize(
    ("shapes", "also", "fixed", "expected"),
    [
        ([], [], True, [[2, 3]]),
        ([], [[[4, 3]]], True, [[2, 3], [4, 3]]),
        ([[[1, 3]]], [[[4, 3]]], True, [[1, 3], [4, 3]]),
        ([], [[[4, 3]]], False, [[4, 3]]),
    ],
)
def test_also_comes_after_the_sizes_of_the_file(shapes, also, fixed, expected):
    asked = {"spec": "m.onnx", "shapes": shapes, "also": also, "inputs": [], "seed": 0}
    batches = flow._batches(asked, [[2 if fixed else None, 3]])
    assert [list(array.shape) for inputs in batches for array in inputs] == expected


def test_sizes_that_the_file_does_not_take_are_refused_before_all_else():
    asked = {"spec": "m.onnx", "shapes": [], "also": [[[4, 3]]], "inputs": [], "seed": 0}
    reference = SimpleNamespace(shapes=[[2, 3]], dtypes=["float32"])
    with pytest.raises(UserError, match=r"has the sizes \[2, 3\] in the file, got \[4, 3\]"):
        flow._require_fitting("m.onnx", reference, flow._batches(asked, reference.shapes))
    reference.shapes = [[None, 3]]
    flow._require_fitting("m.onnx", reference, flow._batches(asked, reference.shapes))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"said": "== 1 OPs are not ==\n========== aten::einsum ============\n"}, "aten::einsum"),
        (
            {"error": "Exception: failed node:v3, op_type is Resize"},
            "cannot convert Resize",
        ),
        ({"error": "KeyError: 'x1'", "op": "aten::batch_norm"}, "cannot convert aten::batch_norm"),
        ({"error": "SystemExit: 0", "said": "no luck\n"}, "exit code 0.: no luck"),
        ({"ended": None}, "did not end within"),
    ],
)
def test_no_net_is_not_checked_whatever_the_exit_code(converter, tmp_path, told, said):
    converter(None, **told)
    with pytest.raises(UserError, match=said) as caught:
        convert(tmp_path / "made")
    assert caught.value.exit_code == 2
    assert "port" in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_code_that_is_no_net_is_not_checked(converter, tmp_path):
    converter("class Small(:")
    with pytest.raises(UserError, match="is no net"):
        convert(tmp_path / "made")


def test_a_folder_of_others_is_never_written_over(converter, tmp_path):
    converter()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UserError, match="no net that convert_graph wrote"):
            convert(tmp_path / "made", force)
    convert(tmp_path / "own")
    with pytest.raises(UserError, match="--force"):
        convert(tmp_path / "own")
    with pytest.raises(UserError, match="letters, digits"):
        convert(tmp_path / "not-a-name")
