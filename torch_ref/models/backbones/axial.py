"""Axial-ResNet, the trunk of Axial-DeepLab (Wang et al., ECCV 2020).

Names are those of csrhddlam/axial-deeplab (lib/models/axialnet.py). Every pixel attends to its
column, then to its row; positions are learned, a table of distances for each line's length, so
the net is made for square images of one size.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import ConfigError
from common.shapes import bilinear_matrix, refuse_size, relative_places, stepped_width
from torch_ref.layers import BatchNorm1d, BatchNorm2d, kaiming_normal_

HEADS = 8
EXPANSION = 2


class AxialAttention(nn.Module):
    """Attention along the columns or the rows of a map. [N, C, H, W] -> [N, C, H / s, W / s].

    Args:
        planes: channels C, a multiple of 16: 8 heads whose queries have half a value's depth.
        length: pixels of a line that the table of distances is made for.
        rows: attend along rows instead of columns.
        stride: s, an average pooling at the end.
        resizes: a line of another length resizes the table; otherwise it is an error.
    """

    flatten_index: torch.Tensor

    def __init__(
        self, planes: int, length: int, rows: bool, stride: int = 1, resizes: bool = False
    ) -> None:
        super().__init__()
        self.rows = rows
        self.length = length
        self.resizes = resizes
        self.qkv_transform = nn.Conv1d(planes, planes * 2, 1, bias=False)
        self.bn_qkv = BatchNorm1d(planes * 2)
        self.bn_similarity = BatchNorm2d(HEADS * 3)
        self.bn_output = BatchNorm1d(planes * 2)
        self.relative = nn.Parameter(torch.empty(planes // HEADS * 2, length * 2 - 1))
        self.register_buffer("flatten_index", torch.tensor(relative_places(length)))
        self.pooling = nn.AvgPool2d(stride, stride=stride) if stride > 1 else None
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise the projection and the table as the authors do."""
        fan_in = self.qkv_transform.weight.shape[1]
        nn.init.normal_(self.qkv_transform.weight, 0.0, 1 / math.sqrt(fan_in))
        nn.init.normal_(self.relative, 0.0, math.sqrt(2 / self.relative.shape[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the pixels of `x` [N, C, H, W] read from their columns or rows."""
        length = x.shape[3] if self.rows else x.shape[2]
        table: torch.Tensor = self.relative
        index = self.flatten_index
        if self.resizes and length != self.length:
            table, index = resize_table(table, length)
        places = spread(table, index, length)
        norms = self.bn_similarity, self.bn_output
        out = attend_lines(x, self.rows, self.project, places, *norms)
        return out if self.pooling is None else self.pooling(out)

    def project(self, lines: torch.Tensor) -> torch.Tensor:
        """Return queries, keys and values of `lines` [B, C, L]: [B, 2 C, L]."""
        return self.bn_qkv(self.qkv_transform(lines))


class AxialBlock(nn.Module):
    """1x1 convolutions around both attentions, and a shortcut.

    [N, in, H, W] -> [N, 2 planes, H / s, W / s]. The stride stands on the second attention.
    """

    def __init__(
        self, inplanes: int, planes: int, length: int, stride: int, shortcut: bool, resizes: bool
    ) -> None:
        super().__init__()
        outplanes = planes * EXPANSION
        self.conv_down = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.hight_block = AxialAttention(planes, length, False, resizes=resizes)
        self.width_block = AxialAttention(planes, length, True, stride, resizes=resizes)
        self.conv_up = nn.Conv2d(planes, outplanes, 1, bias=False)
        self.bn2 = BatchNorm2d(outplanes)
        self.relu = nn.ReLU()
        self.downsample = None
        if shortcut:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, outplanes, 1, stride=stride, bias=False),
                BatchNorm2d(outplanes),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv_down(x)))
        out = self.relu(self.width_block(self.hight_block(out)))
        return self.relu(self.bn2(self.conv_up(out)) + shortcut)


class AxialNet(nn.Module):
    """The trunk without its classifier. Image [N, 3, S, S] float32, RGB, ImageNet-normalised.

    Returns the outputs of the four stages, [N, 256 s, H/4, W/4] to [N, 2048 s, H/32, W/32] with
    s = `scale`.

    Args:
        layers: blocks of each stage.
        scale: of all channels: 0.5, 0.75 and 1 are the authors' S, M and L.
        image_size: height and width S that the tables of positions are made for.
        output_stride: 32, or 16: the last stage is not strided then.
        resizes: take images of other sizes too and resize the tables (linearly, the middle stays
            the middle); otherwise another size is refused.
        width: scales the channels further, for toy training; 1.0 is the authors' net.

    Raises ConfigError for a size, stride or width that leaves nothing.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        scale: float,
        image_size: int = 224,
        output_stride: int = 32,
        resizes: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        planes = stepped_width(128 * scale, width, 2 * HEADS)  # inside the first blocks
        strides = stage_strides(image_size, output_stride)
        self.planes = planes
        self.image_size = None if resizes else image_size
        self.output_stride = output_stride
        self.conv1 = nn.Conv2d(3, planes // 2, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(planes // 2)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        a, b, c, d = (image_size // step for step in (4, 8, 16, 32))
        self.layer1 = make_stage(planes // 2, planes, layers[0], (a, a), strides[0], resizes)
        self.layer2 = make_stage(planes * 2, planes * 2, layers[1], (a, b), strides[1], resizes)
        self.layer3 = make_stage(planes * 4, planes * 4, layers[2], (b, c), strides[2], resizes)
        self.layer4 = make_stage(planes * 8, planes * 8, layers[3], (c, d), strides[3], resizes)
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise as the authors do: He, fan_out; the last scale of a block starts at 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, AxialBlock):
                nn.init.zeros_(layer.bn2.weight)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of the stages 1 to 4 for the image `x` [N, 3, H, W].

        Raises UserError for an image of another size than the net takes.
        """
        refuse_size(x.shape[2:], self.image_size, self.output_stride)
        x = self.relu(self.bn1(self.conv1(x)))
        feat1 = self.layer1(self.maxpool(x))
        feat2 = self.layer2(feat1)
        feat3 = self.layer3(feat2)
        return feat1, feat2, feat3, self.layer4(feat3)


class AxialClassifier(AxialNet):
    """The trunk with global average pooling and a linear layer: logits [N, num_classes]."""

    def __init__(
        self,
        layers: tuple[int, ...],
        scale: float,
        num_classes: int,
        image_size: int,
        width: float,
    ) -> None:
        super().__init__(layers, scale, image_size, width=width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.planes * 8 * EXPANSION, num_classes)
        self.init_fc()

    def init_fc(self) -> None:
        """Initialise the linear layer as torch does by default."""
        bound = 1 / math.sqrt(self.planes * 8 * EXPANSION)
        nn.init.uniform_(self.fc.weight, -bound, bound)
        nn.init.uniform_(self.fc.bias, -bound, bound)

    # Logits in place of feature maps: as a type, no classifier is a backbone.
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the logits [N, num_classes] of the image `x` [N, 3, S, S]."""
        return self.fc(self.avgpool(super().forward(x)[-1]).flatten(1))


def stage_strides(image_size: int, output_stride: int) -> tuple[int, int, int, int]:
    """Return the strides of the four stages.

    Raises ConfigError for a size that no stage divides, or a stride that the trunk has not.
    """
    if output_stride not in (16, 32):
        raise ConfigError(f"output_stride={output_stride} is not possible; choose 16 or 32")
    if image_size < 32 or image_size % 32:
        raise ConfigError(f"image_size={image_size} is not possible; set a multiple of 32")
    return 1, 2, 2, output_stride // 16


def make_stage(
    inplanes: int,
    planes: int,
    blocks: int,
    lengths: tuple[int, int],
    stride: int,
    resizes: bool,
) -> nn.Sequential:
    """Return a stage: [N, inplanes, H, W] -> [N, 2 planes, H / stride, W / stride].

    lengths: pixels of a line that the tables of the first block and of the others are made for.
    """
    outplanes = planes * EXPANSION
    first = AxialBlock(inplanes, planes, lengths[0], stride, inplanes != outplanes, resizes)
    rest = [AxialBlock(outplanes, planes, lengths[1], 1, False, resizes) for _ in range(1, blocks)]
    return nn.Sequential(first, *rest)


def resize_table(table: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `table` [D, 2 l - 1] as [D, 2 length - 1], for other lines, and its index."""
    matrix = bilinear_matrix(table.shape[1], 2 * length - 1, align_corners=True).T.copy()
    weight = torch.from_numpy(matrix).to(table.dtype).to(table.device)
    index = torch.tensor(relative_places(length), device=table.device)
    return torch.matmul(table, weight), index


def spread(table: torch.Tensor, index: torch.Tensor, length: int) -> torch.Tensor:
    """Return the entry of `table` [D, 2 length - 1] of each two pixels: [D, length, length]."""
    return torch.index_select(table, 1, index).reshape(table.shape[0], length, length)


def attend_lines(
    x: torch.Tensor,
    rows: bool,
    project: Callable[[torch.Tensor], torch.Tensor],
    places: torch.Tensor,
    norm_similarity: nn.Module,
    norm_output: nn.Module,
) -> torch.Tensor:
    """Return what the pixels of `x` [N, C, H, W] read from their columns or `rows`, of its shape.

    project: lines [B, C, L] to what `attend` takes, as it takes the rest.
    """
    lines = x.permute(0, 2, 1, 3) if rows else x.permute(0, 3, 1, 2)
    count, others, channels, length = lines.shape
    qkv = project(lines.reshape(count * others, channels, length))
    out = attend(qkv, places, norm_similarity, norm_output)
    out = out.reshape(count, others, channels, length)
    return out.permute(0, 2, 1, 3) if rows else out.permute(0, 2, 3, 1)


def attend(
    qkv: torch.Tensor, places: torch.Tensor, norm_similarity: nn.Module, norm_output: nn.Module
) -> torch.Tensor:
    """Return what the pixels of lines read from each other, [B, C, L].

    qkv: [B, 2 C, L], per head d / 2 of query, d / 2 of key and d of value. places: [2 d, L, L],
    what the distance of two pixels adds to each of the three. norm_similarity normalises the
    three similarities (query and key, query and place, key and place) of all heads,
    norm_output the values and the places' values that were read.
    """
    count, channels, length = qkv.shape
    half = places.shape[0] // 4
    heads = channels // (4 * half)
    parts = [half, half, 2 * half]
    q, k, v = torch.split(qkv.reshape(count, heads, 4 * half, length), parts, dim=2)
    q_places, k_places, v_places = torch.split(places, parts, dim=0)
    qk = torch.einsum("bgci,bgcj->bgij", q, k)
    qr = torch.einsum("bgci,cij->bgij", q, q_places)
    kr = torch.einsum("bgci,cij->bgji", k, k_places)
    similarity = norm_similarity(torch.cat([qk, qr, kr], dim=1))
    similarity = similarity.reshape(count, 3, heads, length, length).sum(dim=1)
    weights = F.softmax(similarity, dim=-1)
    read = torch.einsum("bgij,bgcj->bgci", weights, v)
    read_places = torch.einsum("bgij,cij->bgci", weights, v_places)
    both = torch.cat([read, read_places], dim=-1).reshape(count, channels, length)
    return norm_output(both).reshape(count, channels // 2, 2, length).sum(dim=2)


def axial(
    layers: tuple[int, ...],
    scale: float,
    num_classes: int = 1000,
    image_size: int = 224,
    width: float = 1.0,
) -> AxialClassifier:
    """Build an Axial-ResNet (by `layers` and `scale`) as an ImageNet classifier."""
    return AxialClassifier(layers, scale, num_classes, image_size, width)
