"""A small net of a text, recorded, written, and run on both sides."""

import importlib
import sys
from pathlib import Path

import numpy as np
import torch

from port.folder import write_folder
from port.port import write_port
from port.record.hook_torch import installed
from port.record.record_torch import record_net
from port.record.recorder_torch import Phase

IMAGE = (2, 3, 8, 8)
MODES = ("eval", "train")


def recorded(folder, texts, build="Net", shape=IMAGE, modes=MODES):
    """Return (record, torch net) of the callable `build` of the first of `texts`, {module: text}.

    What was put into this process for it is taken out again.
    """
    for name, text in texts.items():
        path = folder / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    root, phase = next(iter(texts)), Phase()
    finder = installed(phase, lambda file: not file.is_relative_to(folder))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    nets = []
    try:
        factory = getattr(importlib.import_module(root), build)

        def made():
            nets.append(factory())
            return nets[-1]

        image = np.random.default_rng(0).standard_normal(shape)
        record = record_net(made, (root, build), [[image]], modes, finder, phase)
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(folder))
        for name in {*finder.files, *(name.partition(".")[0] for name in finder.files)}:
            sys.modules.pop(name, None)
    return record, nets[0]


def written(record):
    """Return {path: text} of the port of a recording, and the port."""
    port = write_port(record)
    return {file.path: file.text for file in port.files}, port


def both_outputs(folder, record, net, shape=IMAGE, train=False):
    """Return the outputs of both sides, in float64, with the reference's weights."""
    from align.pairing.fill import fill_port
    from align.pairing.reference_torch import LiveReference

    place = folder / f"port_{folder.name.replace('-', '_')}"
    write_folder(place, write_port(record), {"spec": "here", "arguments": {}})
    ported = build_port(place)
    whole = {k: v.clone() for k, v in ported.named_buffers() if not v.is_floating_point()}
    ported.to(dtype="float64")  # that of integers, too
    for name, value in whole.items():
        owner, _, leaf = name.rpartition(".")
        layer = ported
        for part in filter(None, owner.split(".")):
            layer = getattr(layer, part)
        layer._buffers[leaf] = value
    net.double()
    fill_port(LiveReference(net), ported, None)
    image = np.random.default_rng(1).standard_normal(shape)
    return outputs(net, ported, image, train)


def build_port(place: Path):
    """Build the net of a port's folder."""
    sys.path.insert(0, str(place.parent))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{place.name}.builder").build()
    finally:
        sys.path.remove(str(place.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] == place.name]:
            del sys.modules[name]


def outputs(net, ported, image, train):
    """Run both nets on an array."""
    import paddle

    for one in (net, ported):
        one.train() if train else one.eval()
    with torch.no_grad(), paddle.no_grad():
        theirs, ours = net(torch.from_numpy(image)), ported(paddle.to_tensor(image))
    return theirs.numpy(), ours.numpy()
