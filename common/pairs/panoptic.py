"""Rows of nets that give every pixel a class and an object."""

from common.pairs.backbones import AXIAL_PAPER, AXIAL_SOURCE, RESNET50, RESNET101
from common.pairs.pair import IMAGE_SIZE, Pair, Told

_PANOPTIC_DEEPLAB_PAPER = (
    "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up Panoptic Segmentation, "
    "CVPR 2020"
)


def _panoptic_deeplab(layers: tuple[int, ...]) -> Pair:
    return Pair(
        module="panoptic.panoptic_deeplab",
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


_PANOPTIC_DEEPLAB_D2 = Pair(
    module="panoptic.panoptic_deeplab_d2",
    factory="panoptic_deeplab_d2",
    settings={"layers": RESNET50[:3]},
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
    module="panoptic.vip_deeplab",
    factory="vip_deeplab",
    settings={"layers": RESNET50},
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

_AXIAL_DEEPLAB = Pair(
    module="panoptic.axial_deeplab",
    factory="axial_deeplab",
    settings={"layers": RESNET50, "scale": 0.75},
    default_input=(1, 3, 64, 96),
    rules=(),
    classes_key="decoder.semantic_head.classifier.semantic.1.weight",
    told={
        "table_size": Told("backbone.layer1.0.hight_block.relative", 1, plus=1, times=2, step=32),
    },
    task="panoptic",
    paper=AXIAL_PAPER,
    source=AXIAL_SOURCE,
    weights_licence="none released",
)

_MAX_DEEPLAB = Pair(
    module="panoptic.max_deeplab",
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

PANOPTIC: dict[str, Pair] = {
    "panoptic_deeplab_r50": _panoptic_deeplab(RESNET50),
    "panoptic_deeplab_r101": _panoptic_deeplab(RESNET101),
    "panoptic_deeplab_d2_r52": _PANOPTIC_DEEPLAB_D2,
    "vip_deeplab_r50": _VIP_DEEPLAB,
    "axial_deeplab_r50m": _AXIAL_DEEPLAB,
    "max_deeplab_s": _MAX_DEEPLAB,
}
