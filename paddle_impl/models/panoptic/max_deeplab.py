"""MaX-DeepLab-S (Wang et al., CVPR 2021) as conradry/max-deeplab rebuilt it: masks from a memory.

Names are those of that repository (max_deeplab/model.py, blocks.py). Pixels and a memory of slots
read from each other; a slot's vector and the pixels' features multiply to its mask. Learned tables
of positions fix the size of the image.
"""

import math
from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.errors import ConfigError
from common.shapes import FULL_WIDTH, refuse_size, relative_places, stepped_width
from paddle_impl.layers import BatchNorm1D, BatchNorm2D, fan_in_uniform_, resize_bilinear
from paddle_impl.models.backbones.axial import HEADS, attend_lines, spread
from paddle_impl.models.backbones.resnet import Bottleneck
from paddle_impl.models.panoptic.panoptic_deeplab import RATES, SingleDecoder, SingleHead

EXPANSION = 4
STRIDE = 16  # of the coarsest map
VOID_PRIOR = 0.9  # of the paper's class head, before it has learned anything

Both = tuple[paddle.Tensor, paddle.Tensor]


class ConvUnit(nn.Layer):
    """Convolution, BatchNorm, ReLU. [N, in, H, W] -> [N, out, H / s, W / s].

    norm, relu: without the one the convolution has a bias.
    """

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        conv = nn.Conv2D(
            in_ch,
            out_ch,
            kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            bias_attr=False if norm else None,
        )
        rest = ([BatchNorm2D(out_ch)] if norm else []) + ([nn.ReLU()] if relu else [])
        self.net = nn.Sequential(conv, *rest)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the unit's map of `x` [N, in, H, W]."""
        return self.net(x)


class MemoryUnit(nn.Layer):
    """Linear, BatchNorm over slots and images, ReLU. [slots, N, in] -> [slots, N, out]."""

    def __init__(self, in_ch: int, out_ch: int, relu: bool = True) -> None:
        super().__init__()
        self.l1 = nn.Linear(in_ch, out_ch, bias_attr=False)
        self.bn1 = BatchNorm1D(out_ch)
        self.relu = nn.ReLU() if relu else None

    def forward(self, memory: paddle.Tensor) -> paddle.Tensor:
        """Return the vectors of all slots of `memory` [slots, N, in]."""
        out = self.bn1(self.l1(memory).transpose([1, 2, 0])).transpose([2, 0, 1])
        return out if self.relu is None else self.relu(out)


class InceptionStem(nn.Layer):
    """Three 3x3 convolutions and a max-pool. [N, 3, H, W] -> [N, 2 base, H / 4, W / 4]."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            ConvUnit(3, base, 3, stride=2),
            ConvUnit(base, base, 3),
            ConvUnit(base, base * 2, 3),
            nn.MaxPool2D(3, stride=2, padding=1),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the first map of the image `x`."""
        return self.net(x)


class AxialMultiHeadAttention(nn.Layer):
    """Attention of 8 heads along columns or `rows`. [N, C, H, W] -> [N, C, H / s, W / s].

    What `AxialAttention` of the Axial-ResNets computes, under other names.
    """

    flat_index: paddle.Tensor

    def __init__(self, planes: int, length: int, rows: bool, stride: int = 1) -> None:
        super().__init__()
        self.rows = rows
        self.length = length
        self.qkv = nn.Sequential(
            nn.Conv1D(planes, planes * 2, 1, bias_attr=False), BatchNorm1D(planes * 2)
        )
        self.bn_attn = BatchNorm2D(HEADS * 3)
        self.bn_output = BatchNorm1D(planes * 2)
        self.pos_emb = self.create_parameter([planes // HEADS * 2, length * 2 - 1])
        self.register_buffer("flat_index", paddle.to_tensor(relative_places(length)))
        self.avg_pool = nn.AvgPool2D(stride, stride=stride, exclusive=False) if stride > 1 else None

    def init_weight(self) -> None:
        """Initialise the projection and the table as the authors do."""
        weight, *_ = self.qkv[0].parameters()
        nn.initializer.Normal(0.0, 1 / math.sqrt(weight.shape[1]))(weight)
        nn.initializer.Normal(0.0, math.sqrt(2 / self.pos_emb.shape[0]))(self.pos_emb)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return what the pixels of `x` [N, C, H, W] read from their columns or rows."""
        places = spread(self.pos_emb, self.flat_index, self.length)
        norms = self.bn_attn, self.bn_output
        out = attend_lines(x, self.rows, self.qkv, places, *norms)
        return out if self.avg_pool is None else self.avg_pool(out)


class AxialBottleneck(nn.Layer):
    """1x1 convolutions around both attentions, and a shortcut.

    [N, in, H, W] -> [N, 4 planes, H / s, W / s]; `length` is H, which is W.
    """

    def __init__(self, in_ch: int, planes: int, length: int, stride: int = 1) -> None:
        super().__init__()
        out_ch = planes * EXPANSION
        self.axial_net = nn.Sequential(
            ConvUnit(in_ch, planes),
            AxialMultiHeadAttention(planes, length, False),
            AxialMultiHeadAttention(planes, length, True, stride),
            nn.ReLU(),
            ConvUnit(planes, out_ch, relu=False),
        )
        self.relu = nn.ReLU()
        self.downsample = None
        if in_ch != out_ch:
            self.downsample = ConvUnit(in_ch, out_ch, stride=stride, relu=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.axial_net(x) + shortcut)


class DualPathXF(nn.Layer):
    """Pixels attend to their lines, then pixels and memory to each other.

    [N, in, L, L] and [slots, N, memory] -> [N, 4 planes, L, L] and [slots, N, memory].
    """

    def __init__(self, in_ch: int, planes: int, memory: int, length: int) -> None:
        super().__init__()
        out_ch = planes * EXPANSION
        self.p2p = AxialBottleneck(in_ch, planes, length)
        self.p2m_conv1 = ConvUnit(out_ch, planes)
        self.p2m_qkv = nn.Sequential(
            nn.Conv2D(planes, planes * 2, 3, padding=1, bias_attr=False), BatchNorm2D(planes * 2)
        )
        self.p2m_conv2 = nn.Sequential(
            nn.Conv2D(planes, out_ch, 1, bias_attr=False), BatchNorm2D(out_ch)
        )
        self.mem_fc1 = MemoryUnit(memory, planes)
        self.mem_qkv = MemoryUnit(planes, planes * 2, relu=False)
        self.mem_fc2 = MemoryUnit(planes, memory, relu=False)
        self.relu = nn.ReLU()
        self.mem_ffn = nn.Sequential(
            MemoryUnit(memory, out_ch), MemoryUnit(out_ch, memory, relu=False)
        )

    def forward(self, pixels: paddle.Tensor, memory: paddle.Tensor) -> Both:
        """Return both paths, each with what it read from the other (the memory: from both)."""
        pixels = self.p2p(pixels)
        p_qkv = self.p2m_qkv(self.p2m_conv1(pixels))
        m_qkv = self.mem_qkv(self.mem_fc1(memory))
        p_read, m_read = read_each_other(p_qkv, m_qkv)
        pixels = self.relu(self.p2m_conv2(p_read) + pixels)
        memory = self.relu(self.mem_fc2(m_read) + memory)
        return pixels, self.relu(memory + self.mem_ffn(memory))


class DecoderBottleneck(nn.Layer):
    """Doubles a map's size and adds a projected feature of the encoder.

    [N, in, H, W] and [N, out, 2 H, 2 W] -> [N, out, 2 H, 2 W].
    """

    def __init__(self, in_ch: int, planes: int, out_ch: int) -> None:
        super().__init__()
        self.identity_path = nn.Sequential(ConvUnit(in_ch, out_ch, relu=False), Enlarged(2))
        self.bottleneck_path = nn.Sequential(
            ConvUnit(in_ch, planes),
            Enlarged(2),
            ConvUnit(planes, planes, 3),
            ConvUnit(planes, out_ch, relu=False),
        )
        self.encoder_feature_path = nn.Sequential(ConvUnit(out_ch, out_ch, relu=False))
        self.relu = nn.ReLU()
        self.proj_down = ConvUnit(out_ch, out_ch)

    def forward(self, x: paddle.Tensor, skip: paddle.Tensor) -> paddle.Tensor:
        """Return `x` at the size of `skip`, the encoder's feature."""
        paths = self.identity_path(x) + self.bottleneck_path(x) + self.encoder_feature_path(skip)
        return self.proj_down(self.relu(paths))


class MaskHead(nn.Layer):
    """A depthwise 5x5 and a 1x1 convolution to the pixels' features. -> [N, out, H, W]."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.conv5x5 = ConvUnit(in_ch, in_ch, 5, groups=in_ch)
        self.conv1x1 = ConvUnit(in_ch, out_ch, relu=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the features of `x`."""
        return self.conv1x1(self.conv5x5(x))


class Enlarged(nn.Layer):
    """Resizes a map bilinearly by a whole factor, first and last pixels kept."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return `x` [N, C, H, W] as [N, C, factor * H, factor * W]."""
        size = [length * self.factor for length in x.shape[2:]]
        return resize_bilinear(x, size, align_corners=True)


class MaxEncoder(nn.Layer):
    """Stem and four stages; the last has two paths. See `max_deeplab` for the arguments."""

    def __init__(self, layers: Sequence[int], image_size: int, base: int, memory: int) -> None:
        super().__init__()
        length = image_size // STRIDE
        self.stem = InceptionStem(base)
        self.layer1 = residual_stage(base * 2, base, layers[0], 1)
        self.layer2 = residual_stage(base * 4, base * 2, layers[1], 2)
        first = AxialBottleneck(base * 8, base * 4, length * 2, stride=2)
        rest = [AxialBottleneck(base * 16, base * 4, length) for _ in range(1, layers[2])]
        self.layer3 = nn.Sequential(first, *rest)
        widths = [base * 16] + [base * 32] * (layers[3] - 1)
        self.layer4 = nn.Sequential(
            *(DualPathXF(width, base * 8, memory, length) for width in widths)
        )

    def forward(
        self, image: paddle.Tensor, memory: paddle.Tensor
    ) -> tuple[list[paddle.Tensor], paddle.Tensor]:
        """Return the maps of the stages 1, 2 and 4 (/4, /8, /16), and the memory."""
        feat1 = self.layer1(self.stem(image))
        feat2 = self.layer2(feat1)
        pixels = self.layer3(feat2)
        for block in self.layer4:
            pixels, memory = block(pixels, memory)
        return [feat1, feat2, pixels], memory


class MaxDecoder(nn.Layer):
    """One more dual path, up to /4, and the heads of masks and classes."""

    # features: of a pixel and of a slot's mask. norms: of the mask logits, one or one a slot.
    def __init__(self, image_size: int, base: int, features: int, classes: int, norms: int) -> None:
        super().__init__()
        memory = base * 4
        self.dual_path = DualPathXF(base * 32, base * 8, memory, image_size // STRIDE)
        self.bottleneck1 = DecoderBottleneck(base * 32, base * 8, base * 8)
        self.bottleneck2 = DecoderBottleneck(base * 8, base * 2, base * 4)
        self.mask_head = MaskHead(base * 4, features)
        self.mem_mask = nn.Sequential(
            MemoryUnit(memory, memory), MemoryUnit(memory, features, relu=False)
        )
        self.mem_class = nn.Sequential(MemoryUnit(memory, memory), nn.Linear(memory, classes))
        self.fg_bn = BatchNorm2D(norms)
        self.upsample = Enlarged(4)

    def forward(self, features: Sequence[paddle.Tensor], memory: paddle.Tensor) -> Both:
        """Return (mask logits [N, masks, H, W], class logits [N, masks, classes])."""
        feature, mask, classes = self.read(features, memory)
        return self.upsample(self.fg_bn(mask_logits(mask, feature))), classes

    def read(
        self, features: Sequence[paddle.Tensor], memory: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        """Return features of pixels [N, D, h, w] and slots [slots, N, D], and class logits."""
        feat1, feat2, pixels = features
        pixels, memory = self.dual_path(pixels, memory)
        pixels = self.bottleneck2(self.bottleneck1(pixels, feat2), feat1)
        classes = self.mem_class(memory).transpose([1, 0, 2])
        return self.mask_head(pixels), self.mem_mask(memory), classes


class PaperDecoder(MaxDecoder):
    """The same up to the heads, which are the paper's (deeplab2, model/decoder/max_deeplab.py).

    Features of unit length, one BatchNorm for the logits of all masks, a class of its own for "no
    object" that every slot begins with, and a decoder of Panoptic-DeepLab for the semantic map.
    """

    def __init__(self, image_size: int, base: int, num_classes: int) -> None:
        super().__init__(image_size, base, base * 2, num_classes + 1, 1)
        low = [(base * 8, base), (base * 4, base // 2)]
        self.semantic_decoder = SingleDecoder(
            base * 32, base * 4, base * 4, low, RATES[STRIDE], None
        )
        self.semantic_head = SingleHead(base * 4, base * 4, {"semantic": num_classes})

    def init_heads(self) -> None:
        """Initialise what differs: faint masks, and classes of N(0, 0.01), cut at 2 sigma."""
        nn.initializer.Constant(0.1)(self.fg_bn.weight)
        weight, bias = self.mem_class[1].parameters()
        nn.initializer.TruncatedNormal(0.0, 0.01)(weight)
        nn.initializer.Constant(0.0)(bias)

    # Arrays by name in place of a tuple.
    def forward(  # type: ignore[override]
        self, features: Sequence[paddle.Tensor], memory: paddle.Tensor
    ) -> dict[str, paddle.Tensor]:
        """Return "feature", "mask", "class" and "semantic", see `MaxDeepLabPaper`."""
        feature, mask, classes = self.read(features, memory)
        length = (feature * feature).sum(axis=1, keepdim=True).clip(min=1e-12).sqrt()
        feature = feature / length
        masks = mask_logits(mask, feature)
        count, slots, height, width = masks.shape
        masks = self.fg_bn(masks.reshape([count, 1, slots * height, width]))
        return {
            "feature": feature,
            "mask": masks.reshape([count, slots, height, width]),
            "class": towards_void(classes),
            "semantic": self.semantic_head(self.semantic_decoder(features))[0],
        }


class MaxTrunk(nn.Layer):
    """The encoder, the memory and a decoder: what nets with either heads share."""

    def __init__(
        self, layers: Sequence[int], image_size: int, num_masks: int, base: int, decoder: nn.Layer
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.encoder = MaxEncoder(layers, image_size, base, base * 4)
        self.decoder = decoder
        self.global_memory = self.create_parameter([num_masks, base * 4])

    def init_weight(self) -> None:
        """Initialise as conradry does: torch's defaults, N(0, 1) in the memory."""
        nn.initializer.Normal(0.0, 1.0)(self.global_memory)
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D):
                fan_in_uniform_(layer.weight, layer.bias)
            elif isinstance(layer, nn.Linear):
                fan_in_linear_(layer)
            elif isinstance(layer, AxialMultiHeadAttention):
                layer.init_weight()

    def encode(self, x: paddle.Tensor) -> tuple[list[paddle.Tensor], paddle.Tensor]:
        """Return the encoder's maps (/4, /8, /16) and the memory of the image `x` [N, 3, S, S].

        Raises UserError for an image of another size.
        """
        refuse_size(x.shape[2:], self.image_size, STRIDE)
        memory = self.global_memory.unsqueeze(1).expand([-1, x.shape[0], -1])
        return self.encoder(x, memory)


class MaxDeepLab(MaxTrunk):
    """MaX-DeepLab-S. Image [N, 3, S, S] float32, RGB, ImageNet-normalised, S = `image_size`.

    Returns (mask logits [N, num_masks, S, S], class logits [N, num_masks, num_classes], semantic
    logits [N, num_classes, S, S]) in both modes. Class 0 of a slot is "no object".
    """

    def __init__(
        self, layers: Sequence[int], image_size: int, num_classes: int, num_masks: int, base: int
    ) -> None:
        decoder = MaxDecoder(image_size, base, num_masks, num_classes, num_masks)
        super().__init__(layers, image_size, num_masks, base, decoder)
        self.semantic_head = nn.Sequential(
            ConvUnit(base * 32, base * 4, 5, groups=base * 4),
            ConvUnit(base * 4, num_classes, norm=False, relu=False),
            Enlarged(STRIDE),
        )
        self.init_weight()

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        """Return masks, classes and the semantic map of the image `x` [N, 3, S, S]."""
        features, memory = self.encode(x)
        semantic = self.semantic_head(features[-1])
        masks, classes = self.decoder(features, memory)
        return masks, classes, semantic


class MaxDeepLabPaper(MaxTrunk):
    """MaX-DeepLab-S with the paper's heads, on the simplified trunk. Image as of `MaxDeepLab`.

    Returns by name, in both modes and at S / 4: "feature" [N, D, h, w] of unit length, "mask"
    logits [N, num_masks, h, w], "class" logits [N, num_masks, num_classes + 1], void last, and
    "semantic" logits [N, num_classes, h, w]. Of the paper's net it has not: deeper keys and
    queries, BatchNorm in the exchange with the memory, strides by slicing.
    """

    def __init__(
        self, layers: Sequence[int], image_size: int, num_classes: int, num_masks: int, base: int
    ) -> None:
        decoder = PaperDecoder(image_size, base, num_classes)
        super().__init__(layers, image_size, num_masks, base, decoder)
        self.init_weight()
        decoder.init_heads()

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Return the four maps of the image `x` [N, 3, S, S] by name."""
        return self.decoder(*self.encode(x))


HEADS_OF: dict[str, Callable[..., MaxTrunk]] = {"simplified": MaxDeepLab, "paper": MaxDeepLabPaper}


def read_each_other(pixels: paddle.Tensor, memory: paddle.Tensor) -> Both:
    """Return what `pixels` [N, 2 C, H, W] and `memory` [slots, N, 2 C] read, half as many channels.

    Both hold per head d / 2 of query, d / 2 of key and d of value. A pixel reads the slots, a
    slot the pixels and the slots with one softmax over all; nothing is scaled.
    """
    count, channels, height, width = pixels.shape
    slots = memory.shape[0]
    depth = channels // HEADS // 2
    parts = [depth // 2, depth // 2, depth]
    pixels = pixels.reshape([count, HEADS, 2 * depth, height * width])
    memory = memory.reshape([slots, count, HEADS, 2 * depth]).transpose([1, 2, 3, 0])
    p_query, p_key, p_value = paddle.split(pixels, parts, axis=2)
    m_query, m_key, m_value = paddle.split(memory, parts, axis=2)
    weights = F.softmax(paddle.einsum("bhcp,bhcn->bhpn", p_query, m_key), axis=-1)
    p_read = paddle.einsum("bhpn,bhcn->bhcp", weights, m_value)
    keys, values = paddle.concat([p_key, m_key], axis=3), paddle.concat([p_value, m_value], axis=3)
    weights = F.softmax(paddle.einsum("bhcn,bhcl->bhnl", m_query, keys), axis=-1)
    m_read = paddle.einsum("bhnl,bhcl->nbhc", weights, values)
    half = channels // 2
    return p_read.reshape([count, half, height, width]), m_read.reshape([slots, count, half])


def mask_logits(vectors: paddle.Tensor, features: paddle.Tensor) -> paddle.Tensor:
    """Return the product of slots [slots, N, D] and pixels [N, D, H, W]: [N, slots, H, W]."""
    return paddle.einsum("nbd,bdhw->bnhw", vectors, features)


def towards_void(logits: paddle.Tensor) -> paddle.Tensor:
    """Return class `logits` [N, slots, classes + 1] moved so that void begins at 0.9.

    Source: deeplab2, model/decoder/max_deeplab.py, add_bias_towards_void.
    """
    void = logits[..., -1:]
    bias = math.log((logits.shape[-1] - 1) * VOID_PRIOR / (1 - VOID_PRIOR))
    return paddle.concat([logits[..., :-1], void + paddle.full_like(void, bias)], axis=-1)


def residual_stage(in_ch: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """Return a stage of bottlenecks: [N, in, H, W] -> [N, 4 planes, H / s, W / s]."""
    first = Bottleneck(in_ch, planes, stride, 1)
    first.downsample = ConvUnit(in_ch, planes * EXPANSION, stride=stride, relu=False)
    rest = [Bottleneck(planes * EXPANSION, planes, 1, 1) for _ in range(1, blocks)]
    return nn.Sequential(first, *rest)


def fan_in_linear_(layer: nn.Linear) -> None:
    """Fill a linear layer from U(-b, b), b = 1 / sqrt(inputs): what torch does by default."""
    bound = 1 / math.sqrt(layer.weight.shape[0])
    nn.initializer.Uniform(-bound, bound)(layer.weight)
    if layer.bias is not None:
        nn.initializer.Uniform(-bound, bound)(layer.bias)


def max_deeplab(
    image_size: int = 640,
    num_classes: int = 80,
    num_masks: int = 50,
    heads: str = "simplified",
    layers: Sequence[int] = (3, 4, 6, 3),
    width: float = 1.0,
) -> MaxTrunk:
    """Build MaX-DeepLab-S.

    Args:
        image_size: height and width of the image, which the tables of positions are made for.
        num_classes: of the semantic map and of a slot. Of simplified heads the first is "no
            object"; the paper's have one more for it.
        num_masks: slots of the memory.
        heads: "simplified", whose files there are, or "paper"; see `MaxDeepLabPaper`.
        layers: blocks of each stage of the encoder.
        width: scales all channels; 1.0 is the authors' net.

    Raises ConfigError for an `image_size` that is no multiple of 16, for no width, and for other
    heads.
    """
    if image_size < STRIDE or image_size % STRIDE:
        raise ConfigError(f"image_size={image_size} is not possible; set a multiple of {STRIDE}")
    if heads not in HEADS_OF:
        raise ConfigError(f"heads={heads!r} is not known; choose one of {sorted(HEADS_OF)}")
    base = stepped_width(FULL_WIDTH, width, 4)
    return HEADS_OF[heads](layers, image_size, num_classes, num_masks, base)
