"""Rows of nets that give every pixel a class."""

from collections.abc import Mapping
from typing import Any

from common.pairs.backbones import (
    RESNET50,
    RESNET101,
    STDC_LICENCE,
    STDC_PAPER,
    STDC_SOURCE,
    TORCHVISION,
)
from common.pairs.pair import Pair


def _stdc_seg(layers: tuple[int, int, int]) -> Pair:
    return Pair(
        module="stdc",
        factory="BiSeNet",
        settings={"layers": layers},
        default_input=(2, 3, 64, 96),
        rules=("stdc",),
        classes_key="conv_out.conv_out.weight",
        # The same net whose heads were trained with plain BatchNorm: its counters tell.
        variants=({"head_norm": "inplace_abn"}, {"head_norm": "bn"}),
        minimum_batch=2,
        paper=STDC_PAPER,
        source=STDC_SOURCE,
        weights_licence=STDC_LICENCE,
    )


def _fcn(
    factory: str,
    settings: Mapping[str, Any],
    source: str,
    licence: str,
    rules: tuple[str, ...] = (),
    begins: str | None = None,  # the finer net that is trained from this one
) -> Pair:
    return Pair(
        module="fcn",
        factory=factory,
        settings=settings,
        default_input=(2, 3, 17, 24),
        rules=rules,
        classes_key="score_fr.weight",
        subtrees=(begins,) if begins else (),
        subtree_rules={begins: f"{factory}_{begins}"} if begins else {},
        paper="Fully Convolutional Networks for Semantic Segmentation, CVPR 2015",
        source=source,
        weights_licence=licence,
    )


_WKENTARO = ("https://github.com/wkentaro/pytorch-fcn", "MIT")


def _unet(bilinear: bool) -> Pair:
    return Pair(
        module="unet",
        factory="unet",
        settings={"bilinear": bilinear},
        default_input=(2, 3, 35, 48),
        rules=("unet_yassouali",),
        classes_key="outc.conv.weight",
        # conv_bias: releases before v3.0. yassouali: the net of that template.
        variants=({}, {"conv_bias": True}, *(() if bilinear else ({"yassouali": True},))),
        paper="U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
        source="https://github.com/milesial/Pytorch-UNet",
        weights_licence="GPL-3.0",
    )


_SEMSEG = "https://github.com/hszhao/semseg"

_KAZUTO = "https://github.com/kazuto1011/deeplab-pytorch"

_YASSOUALI = {"aux_channels": 512, "first_dilation": "previous", "align_corners": False}


def _pspnet(layers: tuple[int, ...]) -> Pair:
    return Pair(
        module="pspnet",
        factory="PSPNet",
        settings={"layers": layers},
        default_input=(2, 3, 33, 41),
        rules=("pspnet_yassouali",),
        classes_key="cls.4.weight",
        # The second is yassouali's: only the auxiliary head tells, but its three settings belong
        # together.
        variants=({}, _YASSOUALI),
        minimum_batch=2,
        paper="Pyramid Scene Parsing Network, CVPR 2017",
        source=_SEMSEG,
        weights_licence="not stated",
    )


def _deeplab(
    factory: str, layers: tuple[int, ...], classes_key: str, paper: str, released: bool = False
) -> Pair:
    return Pair(
        module="deeplab",
        factory=factory,
        settings={"layers": layers},
        default_input=(2, 3, 33, 49),
        rules=(),
        classes_key=classes_key,
        minimum_batch=1 if factory == "deeplabv2_msc" else 2,
        paper=paper,
        source=_KAZUTO,
        weights_licence="not stated" if released else "none released",
    )


_DEEPLABV3_PAPER = "Rethinking Atrous Convolution for Semantic Image Segmentation, 2017"


def _torchvision(head: str, layers: tuple[int, ...], paper: str) -> Pair:
    return Pair(
        module="torchvision_seg",
        factory="torchvision_seg",
        settings={"layers": layers, "head": head},
        default_input=(2, 3, 33, 49),
        rules=(),
        classes_key="classifier.4.weight",
        variants=({}, {"aux_loss": False}),
        minimum_batch=2 if head == "deeplabv3" else 1,
        paper=paper,
        source=TORCHVISION[0],
        weights_licence=TORCHVISION[1],
    )


_GLORE = Pair(
    module="glore",
    factory="glore",
    settings={"layers": RESNET50},
    default_input=(2, 3, 33, 49),
    rules=(),
    classes_key="classifier.weight",
    paper="Graph-Based Global Reasoning Networks, CVPR 2019",
    source="https://github.com/facebookresearch/GloRe",
    weights_licence="none released",
)

SEMANTIC: dict[str, Pair] = {
    "stdc1_seg": _stdc_seg((2, 2, 2)),
    "stdc2_seg": _stdc_seg((4, 5, 3)),
    "fcn32s": _fcn("fcn32s", {}, *_WKENTARO, begins="fcn16s"),
    "fcn16s": _fcn("fcn16s", {}, *_WKENTARO, begins="fcn8s"),
    "fcn8s": _fcn("fcn8s", {}, *_WKENTARO),
    "fcn8s_atonce": _fcn("fcn8s", {"at_once": True}, *_WKENTARO, rules=("fcn8_yassouali",)),
    "fcn8s_vgg16bn": _fcn(
        "fcn8s_vgg16bn", {}, "https://github.com/pytorch/vision", "none released"
    ),
    "unet": _unet(bilinear=False),
    "unet_bilinear": _unet(bilinear=True),
    "pspnet50": _pspnet(RESNET50),
    "pspnet101": _pspnet(RESNET101),
    "deeplabv2_r101_msc": _deeplab(
        "deeplabv2_msc",
        RESNET101,
        "base.aspp.c0.weight",
        "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, TPAMI 2018",
        released=True,
    ),
    "deeplabv3_r50": _deeplab("deeplabv3", RESNET50, "fc2.weight", _DEEPLABV3_PAPER),
    "deeplabv3_r101": _deeplab("deeplabv3", RESNET101, "fc2.weight", _DEEPLABV3_PAPER),
    "deeplabv3_r101_msc": _deeplab("deeplabv3_msc", RESNET101, "base.fc2.weight", _DEEPLABV3_PAPER),
    "deeplabv3plus_r50": _deeplab(
        "deeplabv3plus",
        RESNET50,
        "fc2.conv3.weight",
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Segmentation, ECCV 2018",
    ),
    "deeplabv3_tv_r50": _torchvision("deeplabv3", RESNET50, _DEEPLABV3_PAPER),
    "deeplabv3_tv_r101": _torchvision("deeplabv3", RESNET101, _DEEPLABV3_PAPER),
    "fcn_tv_r50": _torchvision(
        "fcn", RESNET50, "Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"
    ),
    "glore_r50": _GLORE,
}
