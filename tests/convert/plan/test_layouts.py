"""Matrices that are [in, out] in torch already: rules and kinds, and what a file leaves open."""

import numpy as np
import pytest

from common.errors import ConfigError, ConversionError, UserError
from convert import convert_checkpoint, convert_state
from convert.formats.pdparams import write_pdparams
from convert.formats.torch_save.write_zip import write_torch
from convert.names.rules import load_rules
from convert.reverse import reverse_checkpoint
from tests.nursery import run
from tests.paths import TOOLS

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")


SQUARE = np.arange(16, dtype="f4").reshape(4, 4)
NAME = r"^0\.weight$"


class Port(paddle.nn.Layer):
    def __init__(self, turned=False):
        super().__init__()
        self.turned = turned
        self.weight, self.bias = self.create_parameter([4, 4]), self.create_parameter([4])

    def forward(self, x):
        return paddle.matmul(x, self.weight, transpose_y=self.turned) + self.bias


def arrays(shape=(4, 4)):
    return {"0.weight": np.arange(np.prod(shape), dtype="f4").reshape(shape), "0.bias": SQUARE[0]}


def linear(size_out=4):
    return paddle.nn.Sequential(paddle.nn.Linear(4, size_out))


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"keep": [NAME]}, True),
        ({"keep": NAME}, True),
        ({"keep": [{"match": NAME, "reason": "Conv1D"}]}, True),
        ({"transpose": [NAME]}, False),
        *(({"kinds": [{"match": NAME, "kind": k}]}, True) for k in ("Parameter", "Conv1D")),
        ({"kinds": [{"match": NAME, "kind": "Linear"}]}, False),
    ],
)
def test_rules_decide_of_linear_and_bare_parameters(rules, kept):
    port = paddle.nn.Sequential(Port())
    for net in (linear(), port):
        made = convert_state(arrays(), net, load_rules(rules))
        assert np.array_equal(made.state["0.weight"], SQUARE if kept else SQUARE.T)
        assert not made.account.notes


def test_without_a_rule_a_square_matrix_is_said():
    for net, words in ((linear(), "written transposed"), (paddle.nn.Sequential(Port()), "copied")):
        (note,) = convert_state(arrays(), net).account.notes
        assert words in note
        assert note.endswith("0.weight")
    attention = paddle.nn.MultiHeadAttention(4, 2)
    state = {k: v.numpy() for k, v in torch.nn.MultiheadAttention(4, 2).state_dict().items()}
    assert not convert_state(state, attention).account.notes


def test_a_misfit_names_the_rule_that_lets_it_fit():
    wide = {"0.weight": np.ones((4, 6), "f4"), "0.bias": np.ones(6, "f4")}
    with pytest.raises(ConversionError, match=r"keep: \['\^0\\.weight\$'\]"):
        convert_state(wide, linear(6))
    made = convert_state(wide, linear(6), load_rules({"keep": [NAME]}))
    assert made.state["0.weight"].shape == (4, 6)
    net = paddle.nn.Layer()
    net.table = net.create_parameter([4, 6])
    with pytest.raises(ConversionError, match=r"transpose: \['\^table\$'\]"):
        convert_state({"table": np.ones((6, 4), "f4")}, net)


def test_where_neighbours_are_kept_a_square_one_is_not_taken_on_trust():
    net = paddle.nn.Sequential(paddle.nn.Linear(4, 6), paddle.nn.Linear(6, 6))
    state = {"0.weight": np.ones((4, 6), "f4"), "0.bias": np.ones(6, "f4")}
    state |= {"1.weight": np.ones((6, 6), "f4"), "1.bias": np.ones(6, "f4")}
    with pytest.raises(ConversionError, match=r"1\.weight \(6, 6\): square.*keep: .*transpose: "):
        convert_state(state, net, load_rules({"keep": [NAME]}))
    assert convert_state(state, net, load_rules({"keep": [r"^\d\.weight"]}))


def test_rules_that_do_nothing_or_contradict_are_errors():
    for list_ in ("keep", "transpose"):
        with pytest.raises(ConversionError, match=f"the rule {list_}: 'wieght' matches no tensor"):
            convert_state(arrays(), linear(), load_rules({list_: ["wieght"]}))
    kinds = {"kinds": [{"match": "wieght", "kind": "Conv1D"}]}
    with pytest.raises(ConversionError, match="the rule kinds: 'wieght' matches no tensor"):
        convert_state(arrays(), linear(), load_rules(kinds))
    with pytest.raises(ConfigError, match="`keep` and `transpose` both match"):
        convert_state(arrays(), linear(), load_rules({"keep": [NAME], "transpose": [NAME]}))
    with pytest.raises(UserError, match="no kind is called 'Dense'"):
        convert_state(arrays(), linear(), load_rules({"kinds": [{"match": NAME, "kind": "Dense"}]}))
    conv = paddle.nn.Sequential(paddle.nn.Conv2D(1, 4, 2))
    with pytest.raises(ConversionError, match="only matrices are"):
        convert_state(
            {"0.weight": np.ones((4, 1, 2, 2), "f4"), "0.bias": np.ones(4, "f4")},
            conv,
            load_rules({"transpose": [NAME]}),
        )


def test_without_a_net_and_back(tmp_path):
    write_torch(arrays(), tmp_path / "a.pth")
    rules = load_rules({"keep": [NAME]})
    made = convert_checkpoint(
        tmp_path / "a.pth", tmp_path / "a.pdparams", rules=rules, generic=True
    )
    assert np.array_equal(made.state["0.weight"], SQUARE)
    assert np.array_equal(reverse_checkpoint(tmp_path / "a.pdparams").state["0.weight"], SQUARE)
    write_pdparams(arrays(), tmp_path / "b.pdparams")
    back = reverse_checkpoint(tmp_path / "b.pdparams", model=linear(), rules=rules)
    assert np.array_equal(back.state["0.weight"], SQUARE)
    wide = {"1.weight": np.ones((4, 6), "f4"), "1.bias": np.ones(6, "f4")}
    write_torch(arrays() | wide, tmp_path / "a.pth")
    with pytest.raises(ConversionError, match=r"0\\.weight\$.*kind: \.\.\.") as caught:
        convert_checkpoint(tmp_path / "a.pth", generic=True)  # its neighbour is [in, out]
    assert "1\\.weight" in str(caught.value)


def test_what_is_not_verified_does_not_look_like_a_proof(tmp_path):
    (tmp_path / "my_port.py").write_text(
        "from paddle import nn\ndef build():\n    return nn.Sequential(nn.Linear(4, 4))\n"
    )
    write_torch(arrays(), tmp_path / "m.pth")
    done = run("convert_weights", "m.pth", "--quiet", "--model", "my_port:build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    note, first, second = done.stdout.splitlines()
    assert "the file does not tell the layout" in note
    assert first.startswith("converted, not verified: ")
    assert second.startswith("next       ")
    assert f"{TOOLS}/align_forward.py --torch YOUR_REFERENCE:BUILD" in second
    assert "--paddle my_port:build --weights m.pth" in second
