"""A file of another dtype than the net that is named loads into that net, and it is said."""

import json

import ml_dtypes
import numpy as np
import pytest

from common.errors import ConversionError
from convert import convert_checkpoint, convert_state, read_checkpoint
from convert.plan.cast import back, fitted
from convert.reverse import reverse_checkpoint

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.nursery import run

OTHER = ["float16", "bfloat16", "float64"]


class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc, self.bn = paddle.nn.Linear(4, 4), paddle.nn.BatchNorm1D(4)
        self.register_buffer("index", paddle.zeros([3], "int64"))


def state(dtype=torch.float32):
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.fc, net.bn = torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)
    net.register_buffer("index", torch.arange(3))
    net.to(dtype)
    if dtype == torch.float64:
        net.fc.weight.data += 1e-9  # what float32 does not hold
    return net.state_dict()


def saved(folder, name):
    path = folder / f"{name}.pth"
    torch.save(state(getattr(torch, name)), path)
    return path


@pytest.mark.parametrize("ending", ["pdparams", "safetensors"])
@pytest.mark.parametrize("name", OTHER)
def test_it_loads_and_comes_back(tmp_path, name, ending):
    path, output = saved(tmp_path, name), tmp_path / f"m.{ending}"
    made = convert_checkpoint(path, output, Net())
    net = Net()
    held = paddle.load(str(output)) if ending == "pdparams" else dict(read_checkpoint(output))
    assert net.set_state_dict(held) == ([], [])
    expected = state(getattr(torch, name))["fc.weight"].T.float().numpy()
    assert np.array_equal(net.fc.weight.numpy(), expected)
    note = "rounded" if name == "float64" else "no value changed"
    assert [
        n for n in made.account.notes if f"file's {name} to the net's float32" in n and note in n
    ]
    document = json.loads(output.with_name(f"{output.name}.account.json").read_text())
    rows = {row["key"]: row for row in document["target_tensors"]}
    assert (rows["fc.weight"]["dtype"], rows["fc.weight"]["cast_from"]) == ("float32", name)
    assert rows["index"]["cast_from"] is None
    again = reverse_checkpoint(output, tmp_path / "back.pth")
    original, written = read_checkpoint(path), read_checkpoint(tmp_path / "back.pth")
    assert list(written) == list(original)
    assert all(written[key].dtype == original[key].dtype for key in original)
    same = all(written[key].tobytes() == original[key].tobytes() for key in original)
    assert same is (name != "float64")
    assert bool(again.notes) is (name == "float64")


def test_what_was_trained_on_is_not_rounded_on_the_way_back(tmp_path):
    output = tmp_path / "m.pdparams"
    convert_checkpoint(saved(tmp_path, "bfloat16"), output, Net())
    trained = paddle.load(str(output))
    trained["fc.weight"] = trained["fc.weight"] + 1e-4
    paddle.save(trained, str(output))
    made = reverse_checkpoint(output)
    assert np.array_equal(made.state["fc.weight"], trained["fc.weight"].numpy().T)
    assert made.state["fc.bias"].dtype == ml_dtypes.bfloat16
    assert any("1 tensors hold values" in note for note in made.notes)


def test_into_a_net_of_another_dtype(tmp_path):
    net = Net()
    net.fc.to(dtype="float16")
    path = saved(tmp_path, "float32")
    made = convert_checkpoint(path, tmp_path / "m.pdparams", net)
    assert made.state["fc.weight"].dtype == np.float16
    assert net.set_state_dict(paddle.load(str(tmp_path / "m.pdparams"))) == ([], [])
    large = state() | {"fc.bias": torch.tensor([1e5, 0.0, 0.0, 0.0])}
    torch.save(large, path)
    with pytest.raises(
        ConversionError, match=r"fc\.bias: 1 of 4 values .* beyond the net's float16"
    ):
        convert_checkpoint(path, tmp_path / "n.pdparams", net)
    assert not (tmp_path / "n.pdparams").exists()


def test_numbers_that_count_are_exact_or_refused(tmp_path):
    arrays = {"fc.weight": np.ones((4, 4), "f4")} | {
        key: value.numpy() for key, value in state().items() if key != "fc.weight"
    }
    arrays["index"] = np.arange(3, dtype="int32")
    made = convert_state(arrays, Net(), cast=True)
    assert made.state["index"].dtype == np.int64
    assert convert_state(arrays, Net()).state["index"].dtype == np.int32
    for values in (np.ones(3, "c8"), np.ones(3, "f4")):
        with pytest.raises(ConversionError, match="index: Paddle has int64"):
            convert_state(arrays | {"index": values}, Net(), cast=True)
    with pytest.raises(ConversionError, match=r"fc\.bias: Paddle has float32, file has complex64"):
        convert_state(arrays | {"fc.bias": np.ones(4, "c8")}, Net(), cast=True)
    with pytest.raises(ConversionError, match="beyond the net's int8"):
        fitted("a", np.array([300]), "int8")


def test_values_that_are_not_finite_stay():
    array = np.array([np.nan, np.inf, 1.0], "f2")
    made, before = fitted("a", array, "float32")
    assert (before.dtype, before.rounded) == ("float16", False)
    assert back(made, "float16").tobytes() == array.tobytes()
    assert back(np.float32([1e-9]), "float16") is None


def test_a_row_that_is_named_is_cast_and_verified_and_one_found_out_is_said(tmp_path):
    from torch_ref.seeded import build_seeded

    weights = build_seeded("stdc1_cls", num_classes=5).state_dict()
    doubles = {
        k: v.double() * (1 + 1e-9) if v.is_floating_point() else v for k, v in weights.items()
    }
    torch.save(doubles, tmp_path / "m.pth")
    made = convert_checkpoint(tmp_path / "m.pth", tmp_path / "a.pdparams", "stdc1_cls", verify=True)
    assert made.state["fc.weight"].dtype == np.float32
    assert made.account.verification["worst"] < 1e-9
    found = convert_checkpoint(tmp_path / "m.pth", tmp_path / "b.pdparams", verify=True)
    assert found.state["fc.weight"].dtype == np.float64
    assert "--model stdc1_cls writes them so" in found.account.notes[-1]


def test_the_command_says_it(tmp_path):
    (tmp_path / "my_port.py").write_text(
        "from paddle import nn\ndef build():\n    return nn.Sequential(nn.Linear(4, 2))\n"
    )
    half = torch.nn.Sequential(torch.nn.Linear(4, 2)).half().state_dict()
    torch.save(half, tmp_path / "m.pth")
    done = run("convert_weights", "m.pth", "--model", "my_port:build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOTE       2 tensors cast from the file's float16 to the net's float32" in done.stdout
