"""First weights: drawn from torch's distribution, whatever the layout of the weight is."""

import ast
import math

import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.port.spelling.rows import helper_module
from tests.port.spelling.translate import Translation

LAYERS = {
    "linear": (lambda: torch.nn.Linear(192, 96), lambda: paddle.nn.Linear(192, 96)),
    "conv": (lambda: torch.nn.Conv2d(24, 48, 3), lambda: paddle.nn.Conv2D(24, 48, 3)),
    "depthwise": (
        lambda: torch.nn.Conv2d(512, 512, 3, groups=512),
        lambda: paddle.nn.Conv2D(512, 512, 3, groups=512),
    ),
}
CALLS = [
    "kaiming_normal_(W)",
    "kaiming_normal_(W, mode='fan_out', nonlinearity='relu')",
    "kaiming_uniform_(W, a=1)",
    "kaiming_uniform_(W, a=math.sqrt(5))",
    "xavier_uniform_(W)",
    "xavier_uniform_(W, gain=0.5)",
    "xavier_normal_(W)",
    "orthogonal_(W)",
    "orthogonal_(W, gain=2)",
    "normal_(W, 0, 0.01)",
    "normal_(W, std=0.001)",
    "uniform_(W, -0.1, 0.1)",
    "trunc_normal_(W, std=0.02)",
    "trunc_normal_(W, std=1.0)",
    "constant_(W, 0.5)",
    "sparse_(W, 0.3, 0.5)",
    "zeros_(W)",
    "ones_(W)",
]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("call", CALLS)
def test_first_weights(call: str, layer: str) -> None:
    """Mean, spread and bounds are torch's."""
    if "sparse" in call and layer != "linear":
        return  # for two axes alone
    torch.manual_seed(0)
    reference, port = (make() for make in LAYERS[layer])
    text = f"torch.nn.init.{call.replace('W', 'm.weight')}"
    translation = Translation({"m": reference, "math": math})
    translation.value(ast.parse(text, mode="eval").body)
    space = {**helper_module(), "m": port, "paddle": paddle, "math": math}
    eval(translation.translated(text), space)
    a, b = reference.weight.detach().numpy(), port.weight.numpy()
    scale = float(abs(a).max()) or 1.0
    assert float(abs(a.mean() - b.mean())) <= 0.05 * scale
    assert float(a.std()) == pytest.approx(float(b.std()), rel=0.06)
    assert float(abs(a).max()) == pytest.approx(float(abs(b).max()), rel=0.35)


def test_data_of_a_weight_is_written_in_place() -> None:
    """`m.weight.data.normal_()`: no view of a Linear's weight is filled instead of it."""
    reference, port = torch.nn.Linear(64, 32), paddle.nn.Linear(64, 32)
    translation = Translation({"m": reference})
    for text in ("m.weight.data.normal_(0, 5.0)", "m.weight.data.fill_(3.0)"):
        spelled = translation.translated(text)
        assert ".t()" not in spelled
        eval(spelled, {"m": port})
    assert float(port.weight.min()) == 3.0
    assert translation.translated("m.weight.shape[0]") == "m.weight.t().shape[0]"


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_lets_a_convolution_hand_its_input_on(groups: int) -> None:
    reference, port = torch.nn.Conv2d(4, 6, 3), paddle.nn.Conv2D(4, 6, 3)
    torch.nn.init.dirac_(reference.weight, groups)
    helper_module()["dirac_"](port.weight, groups)
    assert (port.weight.numpy() == reference.weight.detach().numpy()).all()


def test_fans_of_a_parameter_that_no_layer_made_are_torchs() -> None:
    space = helper_module()
    bare = space["Parameter"](paddle.zeros([5, 8]))
    fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(5, 8))
    assert space["fan_in_and_fan_out"](bare) == fans
    assert space["fan_in_and_fan_out"](paddle.nn.Linear(8, 5).weight) == fans
    assert space["fan_in_and_fan_out"](paddle.nn.Embedding(5, 8).weight) == fans
    assert space["fan_in_and_fan_out"](paddle.nn.Linear(8, 5).weight.t()) == fans
    assert space["fan_in_and_fan_out"](paddle.nn.LSTM(8, 4).parameters()[0]) == (8, 16)
    assert space["fan_in_and_fan_out"](space["Parameter"](paddle.zeros([3, 5, 8]))[1]) == fans
    attention = space["MultiheadAttention"](8, 2)
    assert space["fan_in_and_fan_out"](attention.in_proj_weight) == (8, 24)


def test_data_of_a_weight_are_drawn_as_the_weight() -> None:
    """Of what is detached nobody could tell whether it stands turned."""
    translation = Translation({"m": torch.nn.Linear(8, 64)})
    for text in ("m.weight", "m.weight.data", "m.weight.detach()"):
        spelled = translation.translated(f"torch.nn.init.kaiming_normal_({text})")
        assert spelled == "kaiming_normal_(m.weight)"
    for text in ("m.weight.data[:5]", "m.weight[:5].data"):
        spelled = translation.translated(f"torch.nn.init.kaiming_normal_({text})")
        assert ".weight" in spelled
        assert ".t()" in spelled


def test_layers_draw_their_weights_anew() -> None:
    space = helper_module()
    torch.manual_seed(0)
    paddle.seed(0)
    reference, port = torch.nn.Linear(32, 64), paddle.nn.Linear(32, 64)
    space["constant_"](port.weight, 0.0)
    space["reset_parameters"](port)
    assert abs(port.weight.numpy()).max() == pytest.approx(
        float(abs(reference.weight).max()), rel=0.05
    )
    assert abs(port.bias.numpy()).max() == pytest.approx(float(abs(reference.bias).max()), rel=0.1)
    norm = paddle.nn.BatchNorm2D(3)
    space["constant_"](norm.weight, 5.0)
    space["constant_"](norm._variance, 5.0)
    space["reset_parameters"](norm)
    assert norm.weight.numpy().tolist() == norm._variance.numpy().tolist() == [1, 1, 1]


RESET = {
    "recurrent": ("GRU(6, 16, 2)", "GRU(6, 16, 2)"),
    "a cell": ("LSTMCell(6, 16)", "LSTMCell(6, 16)"),
    "bilinear": ("Bilinear(12, 8, 32)", "Bilinear(12, 8, 32)"),
    "slopes": ("PReLU(4, 0.5)", "PReLU(4, 0.5)"),
}


@pytest.mark.parametrize("kind", RESET)
def test_all_layers_are_drawn_anew(kind: str) -> None:
    torchs, paddles = RESET[kind]
    space = helper_module()
    torch.manual_seed(0)
    paddle.seed(0)
    reference, port = (eval(f"{m}.nn.{t}") for m, t in (("torch", torchs), ("paddle", paddles)))
    for part in port.parameters():
        space["constant_"](part, 9.0)
    space["reset_parameters"](port)
    ends = [max(float(one.abs().max()) for one in m.parameters()) for m in (reference, port)]
    assert ends[1] == pytest.approx(ends[0], rel=0.05)


MADE = {
    "conv": ("Conv2d(8, 24, 3, groups=2)", "Conv2D(8, 24, 3, groups=2)"),
    "transposed": ("ConvTranspose2d(8, 24, 3)", "Conv2DTranspose(8, 24, 3)"),
    "volume": ("Conv3d(4, 8, 3)", "Conv3D(4, 8, 3)"),
    "sequence": ("Conv1d(8, 40, 3)", "Conv1D(8, 40, 3)"),
    "linear": ("Linear(96, 48)", "Linear(96, 48)"),
    "bilinear": ("Bilinear(12, 8, 32)", "Bilinear(12, 8, 32)"),
    "embedding": ("Embedding(40, 32, padding_idx=3)", "Embedding(40, 32, padding_idx=3)"),
    "attention": ("MultiheadAttention(16, 2)", "MultiheadAttention(16, 2)"),
    "encoder": ("TransformerEncoderLayer(16, 2, 32)", "TransformerEncoderLayer(16, 2, 32)"),
    "no bias": ("Conv2d(8, 24, 3, bias=False)", "Conv2D(8, 24, 3, bias_attr=False)"),
}


@pytest.mark.parametrize("layer", MADE)
def test_layers_of_a_port_are_drawn_as_torch_draws_them(layer: str) -> None:
    from align import align_init

    theirs, ours = MADE[layer]
    build = helper_module()["with_torch_first_weights"]
    report = align_init(
        lambda: eval(theirs, vars(torch.nn)),
        lambda: build(lambda: eval(ours, {**vars(paddle.nn), **helper_module()})),
        4,
    )
    assert report.exit_code == 0, report.divergences


def test_layers_made_afterwards_are_paddles_own() -> None:
    build, constructors = helper_module()["with_torch_first_weights"], paddle.nn.Linear.__init__
    net = build(lambda: paddle.nn.Linear(8, 8))
    assert float(net.bias.abs().max()) > 0
    with pytest.raises(ZeroDivisionError):
        build(lambda: 1 // 0)
    assert paddle.nn.Linear.__init__ is constructors
    assert float(paddle.nn.Linear(8, 8).bias.abs().max()) == 0
