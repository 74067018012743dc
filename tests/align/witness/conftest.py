"""A net as its authors export it: once with its BatchNorms apart, once folded."""

import warnings

import numpy as np
import paddle
import pytest
import torch

from tests.align.witness.nets import Port, Reference

IMAGE = [np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)]


@pytest.fixture(scope="session")
def reference():
    torch.manual_seed(0)
    net = Reference().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


@pytest.fixture(scope="session")
def exported(reference, tmp_path_factory):
    """{"apart", "folded": file}."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("onnx")
    apart = {
        "training": torch.onnx.TrainingMode.PRESERVE,
        "do_constant_folding": False,
    }
    image = torch.from_numpy(IMAGE[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, how in (("apart", apart), ("folded", {})):
            torch.onnx.export(reference, (image,), folder / f"{name}.onnx", dynamo=False, **how)
    return {name: folder / f"{name}.onnx" for name in ("apart", "folded")}


@pytest.fixture
def port(reference):
    from align.pairing.fill import load_state
    from convert import convert_state

    paddle.seed(0)
    net = Port()
    arrays = {key: value.numpy() for key, value in reference.state_dict().items()}
    load_state(net, convert_state(arrays, net, cast=True).state)
    return net
