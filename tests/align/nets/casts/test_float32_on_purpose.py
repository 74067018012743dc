"""Code that computes in float32 whatever the net's type is: judged in float64 all the same."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF

from align import align_backward, align_forward, align_loss
from align.judge.kernels import paddle_version
from align.rungs.force_trace import force_trace
from align.rungs.record_trace import record_trace

X = np.random.default_rng(0).standard_normal((2, 6, 8))


class TorchNet(torch.nn.Module):
    """A linear layer, then `code(self, x)` in a module of its own."""

    def __init__(self, code):
        super().__init__()
        self.fc = torch.nn.Linear(8, 8)
        self.part = TorchPart(code)

    def forward(self, x):
        return self.part(self.fc(x))


class TorchPart(torch.nn.Module):
    def __init__(self, code):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.5, 1.5, 8))
        self.code = code

    def forward(self, x):
        return self.code(self, x)


class PaddleNet(paddle.nn.Layer):
    def __init__(self, code, reference):
        super().__init__()
        self.fc = paddle.nn.Linear(8, 8)
        self.part = PaddlePart(code)
        self.fc.weight.set_value(reference.fc.weight.detach().numpy().T)
        self.fc.bias.set_value(reference.fc.bias.detach().numpy())

    def forward(self, x):
        return self.part(self.fc(x))


class PaddlePart(paddle.nn.Layer):
    def __init__(self, code):
        super().__init__()
        values = torch.linspace(0.5, 1.5, 8).numpy()
        start = paddle.nn.initializer.Assign(values)
        self.weight = self.create_parameter([8], default_initializer=start)
        self.code = code

    def forward(self, x):
        return self.code(self, x)


def pair(theirs, ours):
    torch.manual_seed(0)
    reference = TorchNet(theirs)
    return reference, PaddleNet(ours, reference)


def both(theirs, ours):
    """Return the reports of both rungs."""
    reports = []
    for align in (align_forward, align_backward):
        reports.append(align(*pair(theirs, ours), [X]))
    return reports


def torch_rms(self, x, epsilon=1e-6):
    kind = x.dtype
    x = x.float()
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)).to(kind)


def paddle_rms(self, x, epsilon=1e-6):
    kind = x.dtype
    x = x.astype("float32")
    x = x * paddle.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
    return self.weight * x.astype(kind)


def torch_softmax(self, x):
    scores = x @ x.transpose(1, 2)
    return TF.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype) @ x


def paddle_softmax(self, x):
    scores = paddle.matmul(x, x, transpose_y=True)
    return paddle.matmul(PF.softmax(scores, axis=-1, dtype="float32").astype(x.dtype), x)


def torch_rotary(self, x):
    angles = torch.arange(6).float()[:, None] / 10000 ** (torch.arange(0, 8, 2).float() / 8)
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.float().reshape(2, 6, 4, 2))
    return torch.view_as_real(pairs * turns).flatten(2).type_as(x)


def paddle_rotary(self, x):
    steps = paddle.arange(0, 8, 2).astype("float32") / 8
    angles = paddle.arange(6).astype("float32").unsqueeze(1) / 10000**steps
    turns = paddle.complex(angles.cos(), angles.sin())
    pairs = paddle.as_complex(x.astype("float32").reshape([2, 6, 4, 2]))
    return paddle.as_real(pairs * turns).flatten(2).astype(x.dtype)


def torch_layer_norm(self, x):
    return TF.layer_norm(x.float(), (8,), self.weight.float(), None, 1e-5).type_as(x)


def paddle_layer_norm(self, x):
    weight = self.weight.astype("float32")
    return PF.layer_norm(x.astype("float32"), [8], weight, None, 1e-5).astype(x.dtype)


def torch_group_norm(self, x):
    y = TF.group_norm(x.to(torch.float32).transpose(1, 2), 2, self.weight.to(torch.float32))
    return y.transpose(1, 2).to(x.dtype)


def paddle_group_norm(self, x):
    y = x.cast(paddle.float32).transpose([0, 2, 1]).reshape([2, 2, -1])
    mean = y.mean(-1, keepdim=True)
    y = (y - mean) * paddle.rsqrt(y.var(-1, unbiased=False, keepdim=True) + 1e-5)
    y = y.reshape([2, 8, 6]) * self.weight.cast(paddle.float32).reshape([8, 1])
    return y.transpose([0, 2, 1]).cast(x.dtype)


def torch_autocast(self, x):
    with torch.autocast("cpu", enabled=False):
        return (x.float() @ self.weight.float().diag()).to(x.dtype)


def paddle_autocast(self, x):
    with paddle.amp.auto_cast(enable=False):
        return paddle.matmul(x.astype("float32"), self.weight.astype("float32").diag())


def torch_constants(self, x):
    half = torch.tensor(0.3, dtype=torch.float32)
    table = torch.linspace(0, 1, 8).float()
    ones = torch.full((8,), 0.1, dtype=torch.float32)
    mask = torch.zeros(6, 6, dtype=torch.float32).fill_(0.7).triu(1)
    return mask @ (x * half + table * ones).matmul(torch.eye(8, dtype=torch.float32) * 0.3)


def paddle_constants(self, x):
    half = paddle.to_tensor(0.3, dtype="float32")
    table = paddle.linspace(0, 1, 8)
    ones = paddle.full([8], 0.1, dtype="float32")
    mask = paddle.triu(paddle.full([6, 6], 0.7), 1)
    return mask.matmul((x * half + table * ones).matmul(paddle.eye(8, dtype="float32") * 0.3))


def torch_drop_path(self, x):
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    keep = torch.full(shape, 0.7, dtype=torch.float32) + 0.1
    return x.div(0.8) * keep.floor().add(0.5).to(x.dtype)


def paddle_drop_path(self, x):
    shape = [x.shape[0]] + [1] * (x.ndim - 1)
    keep = paddle.full(shape, 0.7, dtype="float32") + 0.1
    return x / 0.8 * (keep.floor() + 0.5).astype(x.dtype)


HEALTHY = {
    "rms": (torch_rms, paddle_rms),
    "softmax": (torch_softmax, paddle_softmax),
    "rotary": (torch_rotary, paddle_rotary),
    "layer_norm": (torch_layer_norm, paddle_layer_norm),
    "group_norm": (torch_group_norm, paddle_group_norm),
    "autocast": (torch_autocast, paddle_autocast),
    "constants": (torch_constants, paddle_constants),
    "drop_path": (torch_drop_path, paddle_drop_path),
}


# Paddle's own: the epsilon of a layer, and before 3.0 every number that code adds.
HELD_IN_FLOAT32 = ("layer_norm", *(("rms", "group_norm") if paddle_version() < (3, 0) else ()))


@pytest.mark.parametrize("name", HEALTHY)
def test_the_right_port_is_aligned_to_float64s_precision(name):
    for report in both(*HEALTHY[name]):
        assert report.exit_code == 0, [str(each) for each in report.divergences]
        limit = 1e-5 if name in HELD_IN_FLOAT32 else 1e-11
        assert all(call.floor < limit for call in report.calls)


def uncast_rms(self, x):
    return self.weight * (x * paddle.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def uncast_softmax(self, x):
    scores = paddle.matmul(x, x, transpose_y=True)
    return paddle.matmul(PF.softmax(scores, axis=-1), x)


def torch_uncast_rms(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


ONE_SIDED = {
    "rms": (torch_rms, uncast_rms, "cast_missing"),
    "softmax": (torch_softmax, uncast_softmax, "cast_missing"),
    "added": (torch_uncast_rms, paddle_rms, "cast_added"),
}


def require_cast(report, kind):
    """The cast is the one finding, at its layer, with the line of code."""
    assert report.exit_code == 1
    (found,) = report.divergences
    assert (found.layer, found.where) == ("part", "casts")
    assert found.cause.has(kind)
    assert "test_float32_on_purpose.py:" in found.cause


@pytest.mark.parametrize("name", ONE_SIDED)
def test_a_cast_on_one_side_alone_is_found_at_its_place(name):
    theirs, ours, kind = ONE_SIDED[name]
    for report in both(theirs, ours):
        require_cast(report, kind)


def torch_both(self, x):
    x = torch.softmax(x.float(), -1).to(x.dtype) * 3
    return torch_rms(self, x)


def paddle_both(self, x, first="float32", second=paddle_rms):
    x = PF.softmax(x.astype(first or x.dtype), -1).astype(x.dtype) * 3
    return second(self, x)


def torch_apart(self, x):
    return x.float().exp().to(x.dtype) + (x * self.weight).float().square().to(x.dtype)


def paddle_apart(self, x, first="float32", second="float32"):
    y = x * self.weight
    one = x.astype(first or x.dtype).exp().astype(x.dtype)
    return one + y.astype(second or x.dtype).square().astype(x.dtype)


def torch_apart_once(self, x):
    return x.float().exp().to(x.dtype) + (x * self.weight).square()


TWICE = {
    "first": (torch_both, lambda self, x: paddle_both(self, x, None), "cast_missing"),
    "second": (
        torch_both,
        lambda self, x: paddle_both(self, x, second=uncast_rms),
        "cast_missing",
    ),
    "apart first": (torch_apart, lambda self, x: paddle_apart(self, x, None), "cast_missing"),
    "apart second": (
        torch_apart,
        lambda self, x: paddle_apart(self, x, second=None),
        "cast_missing",
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_one_cast_of_two_that_a_port_drops_is_found_at_its_place(name):
    theirs, ours, kind = TWICE[name]
    for report in both(theirs, ours):
        require_cast(report, kind)


def test_one_cast_more_in_a_module_that_casts_is_never_aligned():
    for report in both(torch_apart_once, paddle_apart):
        assert report.exit_code == 2
        (found,) = [c for c in report.calls if c.where == "casts"]
        assert found.cause.has("cast_added", "cast_idle")


@pytest.mark.parametrize("pair", [(torch_both, paddle_both), (torch_apart, paddle_apart)])
def test_modules_that_cast_twice_are_aligned(pair):
    for report in both(*pair):
        assert report.exit_code == 0, [str(each) for each in report.divergences]


def test_a_second_cast_of_what_is_in_float32_is_no_finding():
    def theirs(self, x):
        kind, x = x.dtype, x.float()
        return (x.square().mean(-1, keepdim=True).float() * x).to(kind)

    def ours(self, x):
        kind, x = x.dtype, x.astype("float32")
        return (x.square().mean(-1, keepdim=True) * x).astype(kind)

    for report in both(theirs, ours):
        assert not report.divergences
        assert report.exit_code == 2


def test_one_cast_of_two_against_a_recording(tmp_path):
    for backward in (False, True):
        folder = tmp_path / f"trace{backward}"
        reference, port = pair(torch_both, paddle_both)
        record_trace(reference, [X], folder, backward=backward)
        assert force_trace(port, folder).exit_code == 0
        port.part.code = TWICE["second"][1]
        (found,) = force_trace(port, folder).divergences
        assert (found.layer, found.where) == ("part", "casts")


def test_a_wrong_epsilon_in_such_code_is_found():
    def wrong(self, x):
        return paddle_rms(self, x, 1.000001e-6 if paddle_version() >= (3, 0) else 1e-4)

    for report in both(torch_rms, wrong):
        assert {found.layer for found in report.divergences} == {"part"}


def test_a_wrong_table_in_such_code_is_found():
    def wrong(self, x):
        return paddle_rotary(self, x * (1 + 1e-10))

    for report in both(torch_rotary, wrong):
        assert {found.layer for found in report.divergences} == {"part"}


def test_where_a_cast_stands_before_or_in_a_module_is_no_difference():
    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.part = TorchPart(lambda part, x: x * part.weight)

        def forward(self, x):
            return self.part(x.float())

    class PaddleOuter(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.part = PaddlePart(lambda part, x: x.astype("float32") * part.weight)

        def forward(self, x):
            return self.part(x)

    for align in (align_forward, align_backward):
        assert align(Outer(), PaddleOuter(), [X]).exit_code == 0


def test_images_of_whole_numbers_that_the_net_casts():
    class Reference(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return self.conv(image.float() / 255.0)

    class Port(paddle.nn.Layer):
        def __init__(self, reference):
            super().__init__()
            self.conv = paddle.nn.Conv2D(3, 4, 3)
            self.conv.weight.set_value(reference.conv.weight.detach().numpy())
            self.conv.bias.set_value(reference.conv.bias.detach().numpy())

        def forward(self, image):
            return self.conv(image.astype("float32") / 255.0)

    image = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    reference = Reference()
    for align in (align_forward, align_backward):
        report = align(reference, Port(reference), [image])
        assert report.exit_code == 0, [str(each) for each in report.divergences]


def test_tensors_that_are_no_buffers_follow_too():
    """Matrices that torch's module holds as plain attributes, in a list, or from NumPy."""
    matrix = np.random.default_rng(1).standard_normal((8, 8)).astype(np.float32)

    def theirs(self, x):
        return x.matmul(self.matrix) + x.matmul(self.more[0]) + x @ torch.as_tensor(matrix)

    def ours(self, x):
        return x.matmul(self.matrix) + x.matmul(self.more) + x.matmul(paddle.to_tensor(matrix))

    for align in (align_forward, align_backward):
        reference, port = pair(theirs, ours)
        held = torch.from_numpy(matrix)
        reference.part.matrix, reference.part.more = held, [held]
        port.part.matrix, port.part.more = paddle.to_tensor(matrix), paddle.to_tensor(matrix)
        report = align(reference, port, [X])
        assert report.exit_code == 0, [str(each) for each in report.divergences]
        assert reference.part.matrix is held
        assert reference.part.more[0] is held
        assert held.dtype == torch.float32
        assert port.part.matrix.dtype == paddle.float32


def test_losses_in_float32():
    def theirs(out, label):
        return TF.cross_entropy(out.float(), label) + out.float().pow(2).mean()

    def ours(out, label):
        out = out.astype("float32")
        return PF.cross_entropy(out, label) + out.pow(2).mean()

    def uncast(out, label):
        return PF.cross_entropy(out, label) + out.pow(2).mean()

    batch = [X[0], np.arange(6) % 8]
    assert align_loss(theirs, ours, batch).exit_code == 0
    report = align_loss(theirs, uncast, batch)
    assert [(found.layer, found.where) for found in report.divergences] == [("", "casts")]


def test_a_cast_in_a_backward_of_ones_own_follows():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient.float() * 2

    for report in both(lambda self, x: Double.apply(x), lambda self, x: x * 2):
        assert report.exit_code == 0, [str(each) for each in report.divergences]


def test_nothing_is_left_changed():
    before = paddle._C_ops.cast, paddle.tensor.creation._to_tensor_non_static
    both(torch_rms, paddle_rms)
    assert before == (paddle._C_ops.cast, paddle.tensor.creation._to_tensor_non_static)
    assert torch.ones(2, dtype=torch.float64).float().dtype == torch.float32
    assert paddle.ones([2], "float64").astype("float32").dtype == paddle.float32
