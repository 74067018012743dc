"""GloRe (Chen et al., CVPR 2019, figure 3): a dilated ResNet with a graph reasoning unit.

The authors released classification nets only. Names of the unit are theirs
(facebookresearch/GloRe, network/global_reasoning_unit.py), those of the net are our own.
"""

import paddle
from paddle import nn

from paddle_impl.layers import BatchNorm2D
from paddle_impl.models.aspp import conv_bn_relu
from paddle_impl.models.backbones.resnet import ResNet
from paddle_impl.models.heads import FCNHead, init_head, resize

NODES = 64  # our net's, at full width, as is the dropout
EPSILON = 1e-4  # the authors' unit
DROPOUT = 0.1


class GCN(nn.Layer):
    """Graph convolution: over the nodes with a residual, ReLU, over the states. [N, S, nodes]."""

    def __init__(self, num_state: int, num_node: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1D(num_node, num_node, 1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv1D(num_state, num_state, 1, bias_attr=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return the reasoned states of all nodes, [N, num_state, num_node] as `x`."""
        h = transposed(self.conv1(transposed(x))) + x
        return self.conv2(self.relu(h))


class GloReUnit(nn.Layer):
    """Pixels to a graph of nodes, reasoning there, and back, added. [N, C, H, W] -> the same.

    normalize: divide the states of the nodes by the number of pixels.
    """

    def __init__(self, num_in: int, num_mid: int, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize
        self.num_s = 2 * num_mid
        self.num_n = num_mid
        self.conv_state = nn.Conv2D(num_in, self.num_s, 1)
        self.conv_proj = nn.Conv2D(num_in, self.num_n, 1)
        self.gcn = GCN(self.num_s, self.num_n)
        self.conv_extend = nn.Conv2D(self.num_s, num_in, 1, bias_attr=False)
        self.blocker = BatchNorm2D(num_in, epsilon=EPSILON)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return x + blocker(extend(gcn(state . projection^T) . projection))."""
        count, _, height, width = x.shape
        state = self.conv_state(x).flatten(2)
        proj = self.conv_proj(x).flatten(2)
        nodes = paddle.matmul(state, transposed(proj))
        if self.normalize:
            nodes = nodes * (1.0 / (height * width))
        state = paddle.matmul(self.gcn(nodes), proj)
        state = state.reshape([count, self.num_s, height, width])
        return x + self.blocker(self.conv_extend(state))


class GloReNet(nn.Layer):
    """ResNet at stride 8, the unit, a classifier; an auxiliary head on stage 3 in train mode.

    Image [N, 3, H, W] float32, RGB, ImageNet-normalised, any H and W. Returns logits
    [N, num_classes, H, W], in train mode (logits, auxiliary logits).
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        num_classes: int,
        normalize: bool,
        first_dilation: str,
        width: float,
    ) -> None:
        super().__init__()
        self.backbone = ResNet(layers, "plain", 8, first_dilation, width)
        base = self.backbone.base
        self.conv = nn.Sequential(*conv_bn_relu(base * 32, base * 8))
        self.glore = GloReUnit(base * 8, NODES * base // 64, normalize)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Conv2D(base * 8, num_classes, 1)
        self.aux = FCNHead(base * 16, base * 4, num_classes, nn.Dropout(DROPOUT))
        self.init_weight()

    def init_weight(self) -> None:
        """Initialise all but the backbone: torch's default, and a unit that starts as nothing."""
        for head in (self.conv, self.glore, self.classifier, self.aux):
            init_head(head)
        nn.initializer.Constant(0.0)(self.glore.blocker.weight)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]:
        """Return the logits of `x` [N, 3, H, W], in train mode with the auxiliary ones."""
        feat3, feat4 = self.backbone(x)[2:]
        logits = self.classifier(self.dropout(self.glore(self.conv(feat4))))
        if not self.training:
            return resize(logits, x)
        return resize(logits, x), resize(self.aux(feat3), x)


def transposed(x: paddle.Tensor) -> paddle.Tensor:
    """Return `x` [N, A, B] as [N, B, A]."""
    return x.transpose([0, 2, 1])


def glore(
    layers: tuple[int, ...],
    num_classes: int = 19,
    normalize: bool = False,
    first_dilation: str = "previous",
    width: float = 1.0,
) -> GloReNet:
    """Build GloRe on ResNet-50 (by `layers`); the first block of a stage keeps its dilation."""
    return GloReNet(layers, num_classes, normalize, first_dilation, width)
