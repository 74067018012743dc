"""Rows of nets that find objects, each with its mask."""

from dataclasses import replace

from common.pairs.backbones import RESNET50
from common.pairs.pair import Pair


def _solo(module: str, paper: str) -> Pair:
    return Pair(
        module=f"detection.{module}",
        factory=module,
        settings={"layers": RESNET50},
        default_input=(1, 3, 64, 128),
        rules=("solo_authors",),
        classes_key="mask_head.conv_cls.weight",
        task="instances",
        paper=paper,
        source="https://github.com/open-mmlab/mmdetection",
        weights_licence="Apache-2.0",
    )


def _mask_rcnn(version: int, paper: str = "Mask R-CNN, ICCV 2017") -> Pair:
    return Pair(
        module="detection.mask_rcnn",
        factory="mask_rcnn",
        settings={"layers": RESNET50, "version": version, "detectron2": False},
        default_input=(1, 3, 64, 96),
        rules=("mask_rcnn_torchvision",),
        variants=({"norm": "frozen"}, {"norm": "batch"}) if version == 1 else ({},),
        classes_key="roi_heads.box_predictor.cls_score.weight",
        more_classes=1,  # the first: background
        task="instances",
        paper=paper,
        source="https://github.com/pytorch/vision",
        weights_licence="BSD-3-Clause",
    )


# configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml and config/defaults.py there. Its
# images are in 0..255 and of standard deviation 1.
_MASK_RCNN_D2 = replace(
    _mask_rcnn(1),
    settings={
        "layers": RESNET50,
        "version": 1,
        "detectron2": True,
        "norm": "frozen",
        "frozen_eps": 1e-5,
        "aligned": True,
        "sampling_ratio": 0,
        "rounded_anchors": False,
        "image_std": (1 / 255,) * 3,
    },
    rules=("mask_rcnn_d2",),
    variants=({},),
    source="https://github.com/facebookresearch/detectron2",
    weights_licence="CC BY-SA 3.0",
)

DETECTION: dict[str, Pair] = {
    "solo_r50_fpn": _solo("solo", "SOLO: Segmenting Objects by Locations, ECCV 2020"),
    "solov2_r50_fpn": _solo(
        "solov2", "SOLOv2: Dynamic and Fast Instance Segmentation, NeurIPS 2020"
    ),
    "mask_rcnn_r50_fpn": _mask_rcnn(1),
    "mask_rcnn_r50_fpn_v2": _mask_rcnn(
        2, "Benchmarking Detection Transfer Learning with Vision Transformers, 2021"
    ),
    "mask_rcnn_r50_fpn_d2": _MASK_RCNN_D2,
}
