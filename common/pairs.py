"""THE TABLE of nets, one row a pair. Tests, conversion, alignment and the README all read it.

To add a net: `torch_ref/models/x.py`, its twin `paddle_impl/models/x.py`, a row here, two configs.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import UserError
from common.shapes import FULL_WIDTH


@dataclass(frozen=True)
class Told:
    """An option of a factory that a tensor's shape tells: (length of `axis` + plus) * times.

    A length that makes no multiple of `step`, or more than `most`, tells nothing. share_of: the
    option is a share of so many, 0.5 where 64 are halved.
    """

    key: str
    axis: int = 0
    plus: int = 0
    times: int = 1
    step: int = 1
    most: int = 4096
    share_of: int | None = None

    def of(self, shapes: Mapping[str, Sequence[int]]) -> float | None:
        """Return the option that a file with tensors of `shapes` was made with, None if unknown."""
        shape = shapes.get(self.key, ())
        if len(shape) <= self.axis:
            return None
        value = (shape[self.axis] + self.plus) * self.times
        if not 0 < value <= self.most or value % self.step:
            return None
        return value if self.share_of is None else value / self.share_of


@dataclass(frozen=True)
class Pair:
    """A net that exists on both sides under the same names.

    Attributes:
        module: file under `models/` of both packages, without `.py`.
        factory: function or class in that file; called with `settings` and a caller's overrides.
        settings: keyword arguments that make this row out of the factory.
        default_input: shape of the input that commands use when none is given: [N, C, H, W], or
            [N, C, D, H, W] of a net of volumes.
        rules: files of `convert/rules/` (without `.yml`) that say what its checkpoints call things.
        classes_key: tensor of the reference whose first dimension is the number of classes.
        classes_option: keyword argument of the factory that sets it.
        more_classes: of the net than of the data set it is trained on: "no object", say.
        variants: overrides that change which tensors exist; recognition tries them in this order.
        told: option of the factory -> the tensor of the reference whose shape tells it.
        subtrees: places ("row:path", or "row" for its root) of other rows whose names and shapes
            this row's checkpoint fills.
        subtree_rules: place -> file of `convert/rules/` that says what is called otherwise there,
            or absent.
        paper: title, venue and year.
        source: where the authors' code and weights are.
        weights_licence: licence under which the authors publish the weights.
        task: what it is for: a row of `common.evaluation.evaluator.EVALUATORS`, or what no config
            trains: "classification", a backbone, and `WITHOUT_DATA`.
        minimum_batch: images that training needs at least: 2 where a BatchNorm sees 1x1 maps.
    """

    module: str
    factory: str
    default_input: tuple[int, ...]
    rules: tuple[str, ...]
    classes_key: str
    paper: str
    source: str
    weights_licence: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    classes_option: str = "num_classes"
    more_classes: int = 0
    variants: tuple[Mapping[str, Any], ...] = ({},)
    told: Mapping[str, Told] = field(default_factory=dict)
    subtrees: tuple[str, ...] = ()
    subtree_rules: Mapping[str, str] = field(default_factory=dict)
    task: str = "semantic"
    minimum_batch: int = 1

    def told_by(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Return the options, but for the classes, that tensors of `shapes` tell, by `told`."""
        found = {option: told.of(shapes) for option, told in self.told.items()}
        return {option: value for option, value in found.items() if value is not None}

    def input_of(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """Return `default_input`, of `image_size` where the net made with `options` has one."""
        size = options.get(IMAGE_SIZE)
        return self.default_input if size is None else (*self.default_input[:2], size, size)


IMAGE_SIZE = "image_size"  # option of nets that take square images of one size
_STDC_PAPER = "Rethinking BiSeNet For Real-time Semantic Segmentation, CVPR 2021"
_STDC_SOURCE = "https://github.com/MichaelFan01/STDC-Seg"
_STDC_LICENCE = "MIT"


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
        paper=_STDC_PAPER,
        source=_STDC_SOURCE,
        weights_licence=_STDC_LICENCE,
    )


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
        paper=_STDC_PAPER,
        source=_STDC_SOURCE,
        weights_licence=_STDC_LICENCE,
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


_FCN_ROWS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce")
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


_RESNET50, _RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)
_TORCHVISION = ("https://github.com/pytorch/vision", "BSD-3-Clause")
_SEMSEG = "https://github.com/hszhao/semseg"
_KAZUTO = "https://github.com/kazuto1011/deeplab-pytorch"


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
        source=_TORCHVISION[0],
        weights_licence=_TORCHVISION[1],
    )


_AXIAL_PAPER = "Axial-DeepLab: Stand-Alone Axial-Attention for Panoptic Segmentation, ECCV 2020"
_AXIAL_SOURCE = "https://github.com/csrhddlam/axial-deeplab"


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
        paper=_AXIAL_PAPER,
        source=_AXIAL_SOURCE,
        weights_licence="MIT",
    )


_MAX_DEEPLAB = Pair(
    module="max_deeplab",
    factory="max_deeplab",
    default_input=(1, 3, 640, 640),
    rules=(),
    classes_key="decoder.mem_class.1.weight",
    more_classes=1,  # the first: no object, and void
    told={
        IMAGE_SIZE: Told("encoder.layer3.0.axial_net.1.pos_emb", 1, plus=1, times=4, step=16),
        "num_masks": Told("global_memory"),
    },
    task="panoptic",
    paper="MaX-DeepLab: End-to-End Panoptic Segmentation with Mask Transformers, CVPR 2021",
    source="https://github.com/conradry/max-deeplab",
    weights_licence="none released",
)
_AXIAL_DEEPLAB = Pair(
    module="axial_deeplab",
    factory="axial_deeplab",
    settings={"layers": _RESNET50, "scale": 0.75},
    default_input=(1, 3, 64, 96),
    rules=(),
    classes_key="decoder.semantic_head.classifier.semantic.1.weight",
    told={
        "table_size": Told("backbone.layer1.0.hight_block.relative", 1, plus=1, times=2, step=32),
    },
    task="panoptic",
    paper=_AXIAL_PAPER,
    source=_AXIAL_SOURCE,
    weights_licence="none released",
)
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
        source=_TORCHVISION[0],
        weights_licence=_TORCHVISION[1],
    )


_GLORE = Pair(
    module="glore",
    factory="glore",
    settings={"layers": _RESNET50},
    default_input=(2, 3, 33, 49),
    rules=(),
    classes_key="classifier.weight",
    paper="Graph-Based Global Reasoning Networks, CVPR 2019",
    source="https://github.com/facebookresearch/GloRe",
    weights_licence="none released",
)


def _panoptic_deeplab(layers: tuple[int, ...]) -> Pair:
    return Pair(
        module="panoptic_deeplab",
        factory="panoptic_deeplab",
        settings={"layers": layers},
        default_input=(2, 3, 65, 97),
        rules=(),
        classes_key="decoder.semantic_head.classifier.semantic.1.weight",
        task="panoptic",
        paper=_PANOPTIC_DEEPLAB_PAPER,
        source="https://github.com/bowenc0221/panoptic-deeplab",
        weights_licence="none released",
    )


_PANOPTIC_DEEPLAB_PAPER = (
    "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up Panoptic Segmentation, "
    "CVPR 2020"
)

_PANOPTIC_DEEPLAB_D2 = Pair(
    module="panoptic_deeplab_d2",
    factory="panoptic_deeplab_d2",
    settings={"layers": _RESNET50[:3]},
    default_input=(2, 3, 64, 128),
    rules=("panoptic_deeplab_d2",),
    classes_key="sem_seg_head.predictor.weight",
    variants=({"dsconv": True}, {"dsconv": False}),
    task="panoptic",
    paper=_PANOPTIC_DEEPLAB_PAPER,
    source="https://github.com/facebookresearch/detectron2",
    weights_licence="CC BY-SA 3.0",
)

_VIP_DEEPLAB = Pair(
    module="vip_deeplab",
    factory="vip_deeplab",
    settings={"layers": _RESNET50},
    default_input=(2, 6, 65, 97),
    rules=(),
    classes_key="decoder.semantic_head.classifier.semantic.1.weight",
    task="video_panoptic",
    paper=(
        "ViP-DeepLab: Learning Visual Perception with Depth-aware Video Panoptic Segmentation, "
        "CVPR 2021"
    ),
    source="https://github.com/google-research/deeplab2",
    weights_licence="none released",
)

_WOLNY = "https://github.com/wolny/pytorch-3dunet"
_VOLUME_WIDTH = Told("final_conv.weight", 1, share_of=FULL_WIDTH)
# Of the orders one of each that has tensors of its own; activations are in no file.
_NORM_FIRST: tuple[Mapping[str, Any], ...] = ({}, {"order": "bcr"}, {"order": "cr"})
_CONV_FIRST: tuple[Mapping[str, Any], ...] = ({"order": "cgr"}, {"order": "cbr"})
_UNET3D = Pair(
    module="unet3d",
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
    module="unet3d",
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


def _solo(module: str, paper: str) -> Pair:
    return Pair(
        module=module,
        factory=module,
        settings={"layers": _RESNET50},
        default_input=(1, 3, 64, 128),
        rules=(),
        classes_key="mask_head.conv_cls.weight",
        task="instances",
        paper=paper,
        source="https://github.com/open-mmlab/mmdetection",
        weights_licence="Apache-2.0",
    )


# Tasks of which there is no data set here: their rows are aligned, and configs refuse them.
WITHOUT_DATA = ("video_panoptic", "volumetric", "instances")

PAIRS: dict[str, Pair] = {
    "stdc1_cls": _stdc_cls((2, 2, 2), "stdc1_seg"),
    "stdc2_cls": _stdc_cls((4, 5, 3), "stdc2_seg"),
    "stdc1_seg": _stdc_seg((2, 2, 2)),
    "stdc2_seg": _stdc_seg((4, 5, 3)),
    "vgg16": _vgg16(False, _FCN_ROWS, dict.fromkeys(_FCN_ROWS, "vgg_fcn")),
    "vgg16_bn": _vgg16(True, ("fcn8s_vgg16bn:backbone",), {}),
    "fcn32s": _fcn("fcn32s", {}, *_WKENTARO, begins="fcn16s"),
    "fcn16s": _fcn("fcn16s", {}, *_WKENTARO, begins="fcn8s"),
    "fcn8s": _fcn("fcn8s", {}, *_WKENTARO),
    "fcn8s_atonce": _fcn("fcn8s", {"at_once": True}, *_WKENTARO, rules=("fcn8_yassouali",)),
    "fcn8s_vgg16bn": _fcn(
        "fcn8s_vgg16bn", {}, "https://github.com/pytorch/vision", "none released"
    ),
    "unet": _unet(bilinear=False),
    "unet_bilinear": _unet(bilinear=True),
    "resnet50": _resnet(
        _RESNET50,
        (
            *("deeplabv3_tv_r50:backbone", "fcn_tv_r50:backbone", "glore_r50:backbone"),
            *("panoptic_deeplab_r50:backbone", "vip_deeplab_r50:backbone"),
            *("solo_r50_fpn:backbone", "solov2_r50_fpn:backbone"),
        ),
        "pspnet50",
    ),
    "resnet101": _resnet(
        _RESNET101,
        ("deeplabv3_tv_r101:backbone", "panoptic_deeplab_r101:backbone"),
        "pspnet101",
    ),
    "axial_r26s": _axial((1, 2, 4, 1), 0.5),
    "axial_r50s": _axial(_RESNET50, 0.5),
    "axial_r50m": _axial(_RESNET50, 0.75, ("axial_deeplab_r50m:backbone",)),
    "axial_r50l": _axial(_RESNET50, 1.0),
    "pspnet50": _pspnet(_RESNET50),
    "pspnet101": _pspnet(_RESNET101),
    "deeplabv2_r101_msc": _deeplab(
        "deeplabv2_msc",
        _RESNET101,
        "base.aspp.c0.weight",
        "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, TPAMI 2018",
        released=True,
    ),
    "deeplabv3_r50": _deeplab("deeplabv3", _RESNET50, "fc2.weight", _DEEPLABV3_PAPER),
    "deeplabv3_r101": _deeplab("deeplabv3", _RESNET101, "fc2.weight", _DEEPLABV3_PAPER),
    "deeplabv3_r101_msc": _deeplab(
        "deeplabv3_msc", _RESNET101, "base.fc2.weight", _DEEPLABV3_PAPER
    ),
    "deeplabv3plus_r50": _deeplab(
        "deeplabv3plus",
        _RESNET50,
        "fc2.conv3.weight",
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Segmentation, ECCV 2018",
    ),
    "deeplabv3_tv_r50": _torchvision("deeplabv3", _RESNET50, _DEEPLABV3_PAPER),
    "deeplabv3_tv_r101": _torchvision("deeplabv3", _RESNET101, _DEEPLABV3_PAPER),
    "fcn_tv_r50": _torchvision(
        "fcn", _RESNET50, "Fully Convolutional Networks for Semantic Segmentation, CVPR 2015"
    ),
    "glore_r50": _GLORE,
    "panoptic_deeplab_r50": _panoptic_deeplab(_RESNET50),
    "panoptic_deeplab_r101": _panoptic_deeplab(_RESNET101),
    "panoptic_deeplab_d2_r52": _PANOPTIC_DEEPLAB_D2,
    "vip_deeplab_r50": _VIP_DEEPLAB,
    "axial_deeplab_r50m": _AXIAL_DEEPLAB,
    "max_deeplab_s": _MAX_DEEPLAB,
    "unet3d": _UNET3D,
    "residual_unet3d": _RESIDUAL_UNET3D,
    "solo_r50_fpn": _solo("solo", "SOLO: Segmenting Objects by Locations, ECCV 2020"),
    "solov2_r50_fpn": _solo(
        "solov2", "SOLOv2: Dynamic and Fast Instance Segmentation, NeurIPS 2020"
    ),
}


def unknown_net(name: str) -> str:
    """Say that no row is called so, and which one was probably meant."""
    plain = {re.sub(r"[^a-z0-9]", "", row.lower()): row for row in PAIRS}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), plain, n=1, cutoff=0.7)
    hint = f"did you mean {plain[near[0]]}? " if near else ""
    return f"no net is called {name!r}; {hint}The table has: {', '.join(PAIRS)}"


def get_pair(name: str) -> Pair:
    """Return the row called `name`; UserError names the rows that exist."""
    try:
        return PAIRS[name]
    except KeyError:
        raise UserError(unknown_net(name)) from None


def build_from(package: str, name: str, overrides: Mapping[str, Any]) -> Any:
    """Call the factory of row `name` in `package` (`torch_ref` or `paddle_impl`).

    Raises UserError where the row is unknown or the factory refuses an override.
    """
    import importlib
    import inspect

    pair = get_pair(name)
    factory = getattr(importlib.import_module(f"{package}.models.{pair.module}"), pair.factory)
    known = set(inspect.signature(factory).parameters) - set(pair.settings)
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise UserError(
            f"{name} has no option {', '.join(map(repr, unknown))}; it has: "
            f"{', '.join(sorted(known))}"
        )
    return factory(**{**pair.settings, **overrides})
