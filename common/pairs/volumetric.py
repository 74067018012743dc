"""Rows of nets of volumes."""

from collections.abc import Mapping
from typing import Any

from common.pairs.pair import Pair, Told
from common.shapes import FULL_WIDTH

_WOLNY = "https://github.com/wolny/pytorch-3dunet"

_VOLUME_WIDTH = Told("final_conv.weight", 1, share_of=FULL_WIDTH)

# Of the orders one of each that has tensors of its own; activations are in no file.
_NORM_FIRST: tuple[Mapping[str, Any], ...] = ({}, {"order": "bcr"}, {"order": "cr"})

_CONV_FIRST: tuple[Mapping[str, Any], ...] = ({"order": "cgr"}, {"order": "cbr"})

_UNET3D = Pair(
    module="volumetric.unet3d",
    factory="unet3d",
    default_input=(2, 1, 8, 16, 24),
    rules=(),
    classes_key="final_conv.weight",
    variants=tuple(
        {**order, **upsample}
        for upsample in ({}, {"upsample": "deconv"})
        for order in (*_NORM_FIRST, *_CONV_FIRST)
    ),
    told={
        "width": _VOLUME_WIDTH,
        "in_channels": Told("encoders.0.basic_module.SingleConv1.conv.weight", 1),
    },
    task="volumetric",
    paper=("3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation, MICCAI 2016"),
    source=_WOLNY,
    weights_licence="none released",
)

_RESIDUAL_UNET3D = Pair(
    module="volumetric.unet3d",
    factory="residual_unet3d",
    default_input=(2, 1, 16, 16, 32),
    rules=(),
    classes_key="final_conv.weight",
    variants=tuple(
        {**order, **excite}
        for excite in ({}, *({"excite": kind} for kind in ("scse", "cse", "sse")))
        for order in _NORM_FIRST  # blocks keep their channels: norms before and after look alike
    ),
    told={
        "width": _VOLUME_WIDTH,
        "in_channels": Told("encoders.0.basic_module.conv1.weight", 1),
    },
    task="volumetric",
    paper="Superhuman Accuracy on the SNEMI3D Connectomics Challenge, 2017",
    source=_WOLNY,
    weights_licence="none released",
)

VOLUMETRIC: dict[str, Pair] = {
    "unet3d": _UNET3D,
    "residual_unet3d": _RESIDUAL_UNET3D,
}
