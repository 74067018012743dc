"""Rows of backbones: what classifies ImageNet, and begins the nets of other tasks."""

from collections.abc import Mapping

from common.pairs.pair import IMAGE_SIZE, Pair, Told

RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)

TORCHVISION = ("https://github.com/pytorch/vision", "BSD-3-Clause")

FCN_ROWS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce")

STDC_PAPER = "Rethinking BiSeNet For Real-time Semantic Segmentation, CVPR 2021"

STDC_SOURCE = "https://github.com/MichaelFan01/STDC-Seg"

STDC_LICENCE = "MIT"


def _stdc_cls(layers: tuple[int, int, int], segmentation: str) -> Pair:
    return Pair(
        module="backbones.stdc",
        factory="stdc_cls",
        settings={"layers": layers},
        default_input=(2, 3, 64, 96),
        rules=("stdc",),
        classes_key="linear.weight",
        subtrees=(f"{segmentation}:cp.backbone",),
        task="classification",
        paper=STDC_PAPER,
        source=STDC_SOURCE,
        weights_licence=STDC_LICENCE,
    )


def _vgg16(batch_norm: bool, subtrees: tuple[str, ...], subtree_rules: Mapping[str, str]) -> Pair:
    return Pair(
        module="backbones.vgg",
        factory="vgg16",
        settings={"batch_norm": batch_norm},
        default_input=(2, 3, 64, 96),
        rules=(),
        classes_key="classifier.6.weight",
        subtrees=subtrees,
        subtree_rules=subtree_rules,
        task="classification",
        paper="Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
        source="https://github.com/pytorch/vision",
        weights_licence="BSD-3-Clause",
    )


def _resnet(layers: tuple[int, ...], bodies: tuple[str, ...], pspnet: str) -> Pair:
    return Pair(
        module="backbones.resnet",
        factory="resnet",
        settings={"layers": layers},
        default_input=(2, 3, 64, 96),
        rules=(),
        classes_key="fc.weight",
        # The deep stem is that of semseg's ImageNet files (initmodel/resnet50_v2.pth).
        variants=({"stem": "plain"}, {"stem": "deep"}),
        subtrees=(*bodies, pspnet),
        subtree_rules={**dict.fromkeys(bodies, "resnet_trunk"), pspnet: "resnet_pspnet"},
        task="classification",
        paper="Deep Residual Learning for Image Recognition, CVPR 2016",
        source=TORCHVISION[0],
        weights_licence=TORCHVISION[1],
    )


AXIAL_PAPER = "Axial-DeepLab: Stand-Alone Axial-Attention for Panoptic Segmentation, ECCV 2020"

AXIAL_SOURCE = "https://github.com/csrhddlam/axial-deeplab"


def _axial(layers: tuple[int, ...], scale: float, bodies: tuple[str, ...] = ()) -> Pair:
    return Pair(
        module="backbones.axial",
        factory="axial",
        settings={"layers": layers, "scale": scale},
        default_input=(1, 3, 224, 224),  # no other size: the tables of positions are made for it
        rules=(),
        classes_key="fc.weight",
        told={IMAGE_SIZE: Told("layer1.0.hight_block.relative", 1, plus=1, times=2, step=32)},
        subtrees=bodies,
        subtree_rules=dict.fromkeys(bodies, "resnet_trunk"),
        task="classification",
        paper=AXIAL_PAPER,
        source=AXIAL_SOURCE,
        weights_licence="MIT",
    )


BACKBONES: dict[str, Pair] = {
    "stdc1_cls": _stdc_cls((2, 2, 2), "stdc1_seg"),
    "stdc2_cls": _stdc_cls((4, 5, 3), "stdc2_seg"),
    "vgg16": _vgg16(False, FCN_ROWS, dict.fromkeys(FCN_ROWS, "vgg_fcn")),
    "vgg16_bn": _vgg16(True, ("fcn8s_vgg16bn:backbone",), {}),
    "resnet50": _resnet(
        RESNET50,
        (
            *("deeplabv3_tv_r50:backbone", "fcn_tv_r50:backbone", "glore_r50:backbone"),
            *("panoptic_deeplab_r50:backbone", "vip_deeplab_r50:backbone"),
            *("solo_r50_fpn:backbone", "solov2_r50_fpn:backbone"),
        ),
        "pspnet50",
    ),
    "resnet101": _resnet(
        RESNET101,
        ("deeplabv3_tv_r101:backbone", "panoptic_deeplab_r101:backbone"),
        "pspnet101",
    ),
    "axial_r26s": _axial((1, 2, 4, 1), 0.5),
    "axial_r50s": _axial(RESNET50, 0.5),
    "axial_r50m": _axial(RESNET50, 0.75, ("axial_deeplab_r50m:backbone",)),
    "axial_r50l": _axial(RESNET50, 1.0),
}
