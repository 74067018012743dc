"""Criteria of the papers. Called with (outputs, label), as the net returns them in train mode.

Where the authors' code has an effect that a reader would not expect, that effect is the default,
because published numbers were trained with it, and an option named for the effect turns it off.
"""

from paddle import nn

from paddle_impl.losses.auxiliary import AuxiliaryCrossEntropy
from paddle_impl.losses.cross_entropy import CrossEntropy, SummedCrossEntropy
from paddle_impl.losses.deeplab import MultiScaleCrossEntropy, UpsampledCrossEntropy
from paddle_impl.losses.detail import DetailLoss
from paddle_impl.losses.detection.mask_rcnn import MaskRCNNLoss
from paddle_impl.losses.detection.solo import SOLOLoss
from paddle_impl.losses.dice import CrossEntropyDice, DiceLoss
from paddle_impl.losses.focal import FocalLoss
from paddle_impl.losses.lovasz import LovaszSoftmax
from paddle_impl.losses.ohem import OhemCrossEntropy
from paddle_impl.losses.panoptic.depth import DepthLoss
from paddle_impl.losses.panoptic.max_deeplab import MaxDeepLabLoss
from paddle_impl.losses.panoptic.panoptic_deeplab import PanopticDeepLabLoss, ViPDeepLabLoss
from paddle_impl.losses.stdc import StdcLoss
from paddle_impl.losses.unet import UNetLoss
from paddle_impl.losses.volume import VolumeLoss

LOSSES: dict[str, type[nn.Layer]] = {
    "cross_entropy": CrossEntropy,
    "ohem": OhemCrossEntropy,
    "detail": DetailLoss,
    "stdc": StdcLoss,
    "summed_cross_entropy": SummedCrossEntropy,
    "unet": UNetLoss,
    "auxiliary_cross_entropy": AuxiliaryCrossEntropy,
    "multi_scale_cross_entropy": MultiScaleCrossEntropy,
    "upsampled_cross_entropy": UpsampledCrossEntropy,
    "dice": DiceLoss,
    "cross_entropy_dice": CrossEntropyDice,
    "focal": FocalLoss,
    "lovasz_softmax": LovaszSoftmax,
    "max_deeplab": MaxDeepLabLoss,
    "panoptic_deeplab": PanopticDeepLabLoss,
    "mask_rcnn": MaskRCNNLoss,
    "solo": SOLOLoss,
    "vip_deeplab": ViPDeepLabLoss,
    "depth": DepthLoss,
    "volume": VolumeLoss,
}
