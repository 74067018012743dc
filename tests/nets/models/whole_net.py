"""A row of the table on both sides in float64, forward and backward: how far apart they are."""

import numpy as np


def whole_net(name, seed, shape, train, **overrides):
    """Run the nets of row `name` and return {what: relative distance}.

    The authors' own constants; dropout off; random cotangents on all outputs. What: "output:i",
    "input" and the names of parameters (their gradients) and of statistics after the pass.
    A gradient is related to the largest of its layer: that of a bias in front of a BatchNorm
    is rounding noise.
    """
    return _run(*_pair(name, seed, overrides), seed, shape, train)


def in_both_modes(name, seed, shape, **overrides):
    """Yield what `whole_net` returns, in eval mode and then, of the same nets, in train mode."""
    reference, port = _pair(name, seed, overrides)
    for train in (False, True):
        yield _run(reference, port, seed, shape, train)
        reference.zero_grad()
        for parameter in port.parameters():
            parameter.clear_gradient(False)


def _run(reference, port, seed, shape, train):
    import paddle
    import torch

    for net in (reference, port):
        net.train() if train else net.eval()
    _dropout_off(reference.modules(), port.sublayers())
    x = np.random.default_rng(seed).standard_normal(shape)
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = _outputs(reference(theirs_x)), _outputs(port(ours_x))
    rng = np.random.default_rng(seed + 1)
    cotangents = [rng.standard_normal(out.shape) for out in theirs]
    sum((o * torch.from_numpy(c)).sum() for o, c in zip(theirs, cotangents, strict=True)).backward()
    sum((o * paddle.to_tensor(c)).sum() for o, c in zip(ours, cotangents, strict=True)).backward()
    found = {
        f"output:{i}": distance(a.detach().numpy(), b.numpy())
        for i, (a, b) in enumerate(zip(theirs, ours, strict=True))
    }
    found["input"] = distance(theirs_x.grad.numpy(), ours_x.grad.numpy())
    return found | _gradients(reference, port) | _statistics(reference, port)


def distance(theirs, ours, scale=None):
    """Return the largest difference over `scale`, by default the largest value of `theirs`."""
    assert theirs.shape == tuple(ours.shape)
    scale = np.abs(theirs).max() if scale is None else scale
    return float(np.abs(theirs - ours).max() / (scale or 1.0))


def _pair(name, seed, overrides):
    import paddle

    import paddle_impl
    from align.pairing.fill import load_state
    from convert import convert_state
    from torch_ref.seeded import build_seeded

    reference = build_seeded(name, seed, **overrides).double()
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    try:
        port = paddle_impl.build_model(name, **overrides)
    finally:
        paddle.set_default_dtype(before)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def _dropout_off(*layers):
    for layer in (layer for side in layers for layer in side):
        if "Dropout" in type(layer).__name__:
            layer.eval()


def _outputs(result):
    from align.arrays.trees import leaves

    return leaves(result)


def _gradients(reference, port):
    """Return the distances of Paddle's Linear weights too, which are transposed."""
    from convert.nets.describe_paddle import describe

    kinds = {spec.key: spec for spec in describe(port)}
    theirs = {n: p.grad.numpy() for n, p in reference.named_parameters() if p.grad is not None}
    scales = {}
    for name, gradient in theirs.items():
        layer = name.rpartition(".")[0]
        scales[layer] = max(scales.get(layer, 0.0), np.abs(gradient).max())
    found = {}
    for name, parameter in port.named_parameters():
        if parameter.stop_gradient or parameter.grad is None:
            continue
        ours = parameter.grad.numpy()
        ours = ours.T if (kinds[name].kind, kinds[name].role) == ("Linear", "weight") else ours
        found[name] = distance(theirs[name], ours, scales[name.rpartition(".")[0]])
    assert found.keys() == theirs.keys()
    return found


def _statistics(reference, port):
    from convert import convert_state

    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    state = port.state_dict()
    return {
        key: distance(array, state[key].numpy())
        for key, array in convert_state(arrays, port).state.items()
        if key.endswith(("._mean", "._variance"))
    }
