"""Criteria of the papers. Called with (outputs, label), as the net returns them in train mode.

Where the authors' code has an effect that a reader would not expect, that effect is the default,
because published numbers were trained with it, and an option named for the effect turns it off.
"""

from torch import nn

from torch_ref.losses.auxiliary import AuxiliaryCrossEntropy
from torch_ref.losses.cross_entropy import CrossEntropy, SummedCrossEntropy
from torch_ref.losses.deeplab import MultiScaleCrossEntropy, UpsampledCrossEntropy
from torch_ref.losses.detail import DetailLoss
from torch_ref.losses.detection.mask_rcnn import MaskRCNNLoss
from torch_ref.losses.detection.solo import SOLOLoss
from torch_ref.losses.dice import CrossEntropyDice, DiceLoss
from torch_ref.losses.focal import FocalLoss
from torch_ref.losses.lovasz import LovaszSoftmax
from torch_ref.losses.ohem import OhemCrossEntropy
from torch_ref.losses.panoptic.depth import DepthLoss
from torch_ref.losses.panoptic.max_deeplab import MaxDeepLabLoss
from torch_ref.losses.panoptic.panoptic_deeplab import PanopticDeepLabLoss, ViPDeepLabLoss
from torch_ref.losses.stdc import StdcLoss
from torch_ref.losses.unet import UNetLoss
from torch_ref.losses.volume import VolumeLoss

LOSSES: dict[str, type[nn.Module]] = {
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
