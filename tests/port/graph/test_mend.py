"""What X2Paddle is known to write wrong is mended in its line, and nothing else is touched."""

import ast

import pytest

from port.graph.account import GONE, IN_CODE, RENAMED, RESHAPED, TRANSPOSED, account_of
from port.graph.mend import MARK, Norm, Resizing, mend

CODE = """import paddle
from x2paddle.op_mapper.pytorch2paddle import pytorch_custom_layer as x2paddle_nn

class Net(paddle.nn.Layer):
    def __init__(self):
        super(Net, self).__init__()
        self.batchnorm0 = paddle.nn.BatchNorm(is_test=True, num_channels=3, momentum=0.1)
        self.pool0 = paddle.nn.AvgPool2D(kernel_size=[2, 2], stride=[], exclusive=False)
        self.w = self.create_parameter(dtype='float32', shape=(3,), attr='w')
        self.c = self.create_parameter(dtype='float32', shape=(1,))

    def forward(self, x):
        y = self.pool0(self.batchnorm0(x))
        v = paddle.nn.functional.interpolate(x=y, align_corners=True, mode='bilinear', align_mode=1)
        return v

def main(x):
    params = paddle.load(r'/tmp/somewhere/model.pdparams')
"""
NORMS = {"batchnorm0": Norm(0.9, 1e-5, "torch's 0.1 is what is new")}


def lines_of(made):
    lines = made.code.splitlines()
    return {one.split("=")[0].strip(): one for one in lines if MARK in one}


def test_known_faults_are_mended_where_they_stand():
    resizes = {"v": Resizing("linear", "half_pixel", "round_prefer_floor")}
    made = mend(CODE, NORMS, {"w"}, resizes)
    lines = lines_of(made)
    assert "momentum=0.9" in lines["self.batchnorm0"]
    assert "is_test" not in lines["self.batchnorm0"].partition(MARK)[0]
    assert "stride=[2, 2]" in lines["self.pool0"]
    assert "attr" not in lines["self.w"].partition(MARK)[0]
    assert "self.c.stop_gradient = True" in lines["self.c"]
    assert "align_corners=False" in lines["v"]
    assert "align_mode=0" in lines["v"]
    assert len(made.changes) == 7
    assert (made.name, made.open, made.needs_x2paddle) == ("Net", [], False)
    for gone in ("def main", "/tmp/somewhere", "x2paddle_nn"):
        assert gone not in made.code
    ast.parse(made.code)


def test_what_is_right_is_left_alone():
    code = CODE.replace("is_test=True, ", "").replace("momentum=0.1", "momentum=0.9")
    code = code.replace("stride=[]", "stride=[2, 2]").replace(", attr='w'", "")
    made = mend(code, NORMS, {"w", "c"})
    assert made.changes == []
    assert MARK not in made.code


@pytest.mark.parametrize(
    ("wanted", "settings"),
    [
        (Resizing("linear", "align_corners", ""), "align_corners=True, mode='bilinear'"),
        (Resizing("linear", "asymmetric", ""), "align_mode=1, align_corners=False"),
        (Resizing("cubic", "pytorch_half_pixel", ""), "align_corners=False, align_mode=0"),
    ],
)
def test_every_kind_of_coordinates_has_its_settings(wanted, settings):
    assert settings in mend(CODE, NORMS, {"w", "c"}, {"v": wanted}).code


def test_what_has_no_form_in_paddle_is_said():
    odd = Resizing("nearest", "half_pixel", "round_prefer_floor")
    made = mend(CODE, {"batchnorm0": Norm(None, 1e-3, "torch averages")}, {"w"}, {"v": odd})
    assert made.open == [
        "batchnorm0: torch averages, which Paddle has not",
        "v: Resize nearest, half_pixel, round_prefer_floor has no form in Paddle",
    ]
    assert "epsilon=0.001" in made.code
    assert "no BatchNorm of the source is known" in mend(CODE, {}, {"w"}).open[0]


def test_numpy_is_imported_where_it_is_used():
    made = mend(CODE.replace("return v", "return np.abs(v)"), NORMS, {"w", "c"})
    assert f"import numpy as np{MARK}" in made.code
    assert "numpy" not in mend(CODE, NORMS, {"w", "c"}).code


def test_layers_of_x2paddle_are_kept_and_said():
    made = mend(CODE.replace("self.pool0(", "x2paddle_nn.Odd("), NORMS, {"w"})
    assert made.needs_x2paddle
    assert "as x2paddle_nn" in made.code


@pytest.mark.parametrize("text", ["class Net(:", "x = 1"])
def test_what_is_no_net_is_refused(text):
    with pytest.raises((SyntaxError, ValueError)):
        mend(text, {}, set())


def test_every_tensor_has_its_way():
    import numpy as np

    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    line, odd = np.ones((3, 1, 1), np.float32), np.full(4, 7, np.float32)
    source = {
        "a": matrix, "b": matrix.T.copy() + 9, "c": line, "d": odd, "e": line[:1],
        "n.num_batches_tracked": np.array(3), "u": odd + 1, "twin": matrix,
    }  # fmt: skip
    target = {"x.w": matrix, "y.w": matrix + 9, "z": line.ravel(), "new": odd * 2, "x2": matrix}
    found = account_of(source, target, {"u": "read by no operation"})
    ways = {way.name: (way.became, way.target) for way in found.ways}
    assert ways == {
        "a": (RENAMED, "x.w"), "b": (TRANSPOSED, "y.w"), "c": (RESHAPED, "z"), "d": (GONE, ""),
        "e": (IN_CODE, ""), "n.num_batches_tracked": (GONE, ""), "u": (GONE, ""),
        "twin": (RENAMED, "x2"),
    }  # fmt: skip
    assert found.added == ("new",)
    assert found.counts() == {RENAMED: 2, TRANSPOSED: 1, RESHAPED: 1, GONE: 3, IN_CODE: 1}
