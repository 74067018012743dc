"""What tests of Mask R-CNN share: a thin pair of nets, two pictures and their objects."""

import importlib

import numpy as np

from common.pairs import PAIRS

SIZES = ((64, 96), (80, 60))
CLASSES = 5  # with background


def objects(size, boxes, labels):
    """A target: each mask fills its box."""
    masks = np.zeros([len(boxes), *size], np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    boxes = np.array(boxes, np.float64).reshape([-1, 4])
    return {"boxes": boxes, "labels": np.array(labels, np.int64), "masks": masks}


FIRST = objects(SIZES[0], [[4, 6, 40, 50], [50, 10, 90, 60]], [1, 3])
SECOND = objects(SIZES[1], [[10, 10, 50, 70], [20, 5, 40, 30]], [4, 2])


def pictures(seed=0):
    """Images [3, H, W] of two sizes."""
    rng = np.random.default_rng(seed)
    return [rng.random((3, *size)) for size in SIZES]


def thin_pair(**options):
    """Both nets with one block a stage, float32 and in train mode, with equal weights."""
    import torch

    from align.pairing.fill import load_state
    from convert import convert_state

    sizes = {"width": 0.125, "num_classes": CLASSES, "min_size": 64, "max_size": 128}
    few = {"rpn_pre_nms_top_n_train": 60, "rpn_post_nms_top_n_train": 30}
    torch.manual_seed(0)
    asked = {**PAIRS["mask_rcnn_r50_fpn"].settings, "layers": (1, 1, 1, 1), **sizes, **few}
    rooms = ("torch_ref", "paddle_impl")
    modules = (importlib.import_module(f"{room}.models.detection.mask_rcnn") for room in rooms)
    reference, port = (module.mask_rcnn(**{**asked, **options}) for module in modules)
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                torch.nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port
