"""What tests of criteria share: both sides on arrays, logits and labels, the loss of a pixel."""

import numpy as np
import pytest

VOID = 255
CLASSES = 5


class Torch:
    """What a test asks of a framework, on arrays."""

    def __init__(self):
        self.fw = pytest.importorskip("torch")
        self.fw.set_num_threads(1)
        import torch_ref
        from torch_ref import losses

        self.room, self.losses = torch_ref, losses

    def build(self, name, dtype="float64", **settings):
        before = self.fw.get_default_dtype()
        self.fw.set_default_dtype(getattr(self.fw, dtype))
        try:
            return self.losses.LOSSES[name](**settings)
        finally:
            self.fw.set_default_dtype(before)

    def array(self, tensor):
        return tensor.detach().numpy()

    def tensor(self, array):
        return self.fw.tensor(array, requires_grad=array.dtype.kind == "f")

    def fill(self, parameter, values):
        parameter.data = self.fw.tensor(values, dtype=parameter.dtype).reshape(parameter.shape)


class Paddle:
    """The same on the other side."""

    def __init__(self):
        self.fw = pytest.importorskip("paddle")
        import paddle_impl
        from paddle_impl import losses

        self.room, self.losses = paddle_impl, losses

    def build(self, name, dtype="float64", **settings):
        before = self.fw.get_default_dtype()
        self.fw.set_default_dtype(dtype)
        try:
            return self.losses.LOSSES[name](**settings)
        finally:
            self.fw.set_default_dtype(before)

    def array(self, tensor):
        return tensor.numpy()

    def tensor(self, array):
        return self.fw.to_tensor(array, stop_gradient=array.dtype.kind != "f")

    def fill(self, parameter, values):
        values = np.asarray(values, dtype="float64").reshape(parameter.shape)
        parameter.set_value(values.astype(str(parameter.dtype).split(".")[-1]))


SIDES = {"torch": Torch, "paddle": Paddle}


def both():
    """Return the reference's side and the port's."""
    return Torch(), Paddle()


def evaluate(side, criterion, logits, label):
    """Return values of all outputs, and of each the gradients of all logits."""
    values, gradients = [], []
    several = isinstance(logits, list)
    count = None
    index = 0
    while count is None or index < count:
        tensors = [side.tensor(array) for array in (logits if several else [logits])]
        out = criterion(tuple(tensors) if several else tensors[0], side.tensor(label))
        out = out if isinstance(out, tuple) else (out,)
        count = len(out)
        out[index].backward()
        values.append(float(side.array(out[index])))
        gradients.append([side.array(tensor.grad) for tensor in tensors])
        index += 1
    return values, gradients


def make_logits(label, sharpness, seed, classes=CLASSES):
    """Random logits; `sharpness` is added to the true class."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((label.shape[0], classes, *label.shape[1:]))
    for k in range(classes):
        logits[:, k] += sharpness * (label == k)
    return logits


def make_label(shape, seed, void=0.3, classes=CLASSES):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, shape)
    return np.where(rng.random(shape) < void, VOID, label).astype(np.int64)


def make_blocks(shape, seed, classes=19):
    """A label of flat regions of odd sizes, one of them void."""
    rng = np.random.default_rng(seed)
    n, height, width = shape
    label = np.zeros(shape, np.int64)
    for i in range(n):
        for _ in range(9):
            y, x = rng.integers(0, height), rng.integers(0, width)
            h, w = rng.integers(2, height // 2), rng.integers(2, width // 2)
            label[i, y : y + h, x : x + w] = rng.integers(0, classes)
        label[i, 3:8, 5:9] = VOID
    return label


def pixel_losses_numpy(logits, label):
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    true = np.where(label == VOID, 0, label)
    picked = np.take_along_axis(probability, true[:, None], axis=1)[:, 0]
    losses = np.where(label == VOID, 0.0, -np.log(picked))
    one_hot = np.arange(logits.shape[1])[None, :, None, None] == true[:, None]
    gradient = (probability - one_hot) * (label != VOID)[:, None]
    return losses, gradient


def ohem_numpy(logits, label, threshold, min_kept):
    """The authors' rule as they write it: sort all pixels, ignored ones as zeros."""
    losses, gradient = pixel_losses_numpy(logits, label)
    order = np.argsort(-losses.ravel(), kind="stable")
    ranked = losses.ravel()[order]
    hard = -np.log(threshold)
    kept = order[ranked > hard] if ranked[min_kept] > hard else order[:min_kept]
    mask = np.zeros(losses.size)
    mask[kept] = 1.0 / len(kept)
    return losses.ravel()[kept].mean(), gradient * mask.reshape(losses.shape)[:, None]


def ohem_case(kind):
    label = make_label((2, 12, 16), seed=1)
    return make_logits(label, {"hard": 0.0, "easy": 4.0}[kind], seed=2), label


def assert_twins(name, logits, label, allowed, **settings):
    found = []
    for side in both():
        values, gradients = evaluate(side, side.build(name, **settings), logits, label)
        found.append([np.asarray(values), *(g for row in gradients for g in row)])
    for reference, port in zip(*found, strict=True):
        scale = np.abs(reference).max()
        worst = np.abs(reference - port).max()
        assert worst <= allowed * scale, f"worst {worst / scale:.1e}, allowed {allowed}"
