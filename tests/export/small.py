"""A small net of the table with weights of its own, as exports take it."""

from common.settings.load import load_settings
from tests.paths import ROOT

SIZE = (32, 48)


def small_settings(name="unet_bilinear_toy", *overrides):
    narrow = () if name.startswith("stdc") else ("model.options.width=0.0625",)
    return load_settings(ROOT / f"configs/{name}.yml", [*narrow, *overrides])


def small_subject(folder, name="unet_bilinear_toy", *overrides):
    """Return the Subject of a toy config, whose statistics are not those of the beginning."""
    import numpy as np
    import paddle

    from commands.deploy.subject_paddle import subject_of
    from commands.subjects.named.frameworks import parts_of

    settings = small_settings(name, *overrides)
    net = parts_of(settings, "paddle").seeded_net(0)
    rng = np.random.default_rng(1)
    for layer in net.sublayers():
        if hasattr(layer, "_variance"):
            layer._mean.set_value(rng.normal(0, 0.1, layer._mean.shape).astype("float32"))
            layer._variance.set_value(rng.uniform(0.5, 2, layer._mean.shape).astype("float32"))
    for weight in net.parameters():  # FCN's head begins at zeros, of which nothing can be told
        if weight.ndim > 1 and not weight.numpy().any():
            weight.set_value(rng.normal(0, 0.1, weight.shape).astype("float32"))
    path = folder / f"{name}.pdparams"
    paddle.save(net.state_dict(), str(path))
    return subject_of(settings, path)
