"""Small nets of one operation each behind a convolution, for `graphs.py`: [2, 3, 16, 16] in."""

import torch
import torch.nn.functional as F
from torch import nn


class OfOneCall(nn.Module):
    """A convolution, and one operation on its eight channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what `call` makes of the convolution's output [2, 8, 16, 16]."""
        return self.call(self.conv(x))

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return the operation's result; each net has its own."""
        raise NotImplementedError


class Einsum(OfOneCall):
    """Attention over places by torch.einsum."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, mixed over its places."""
        x = x.flatten(2)
        return torch.einsum("bij,bcj->bci", torch.einsum("bci,bcj->bij", x, x).softmax(-1), x)


class Attention(OfOneCall):
    """nn.MultiheadAttention over places."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, attended to itself."""
        x = x.flatten(2).transpose(1, 2)
        return self.attention(x, x, x, need_weights=False)[0]


class Layers(OfOneCall):
    """nn.LayerNorm over channels and GELU, as in ConvNeXt and Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised channels through GELU."""
        return F.gelu(self.norm(x.permute(0, 2, 3, 1)))


class Groups(OfOneCall):
    """nn.GroupNorm and nn.InstanceNorm2d."""

    def __init__(self) -> None:
        super().__init__()
        self.group, self.instance = nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True)

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return both norms, added."""
        return self.group(x) + self.instance(x)


class Recurrent(OfOneCall):
    """nn.LSTM along the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, batch_first=True)

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return its states [2, 16, 6]."""
        return self.lstm(x.mean(3).transpose(1, 2))[0]


class Transposed(OfOneCall):
    """Transposed convolutions with output padding, and PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.act = nn.PReLU(8)

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x at twice the size."""
        return self.act(self.up(x))


class Pools(OfOneCall):
    """Poolings: with a padding that counts, with ceil_mode, adaptive."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return them beside another."""
        mean = F.avg_pool2d(x, 3, 2, 1, count_include_pad=True)
        most = F.max_pool2d(x, 3, 2, ceil_mode=True)
        parts = [F.adaptive_avg_pool2d(one, 4) for one in (mean, most)]
        return torch.cat([*parts, F.adaptive_max_pool2d(x, 4)], 1)


class Bilinear(OfOneCall):
    """Bilinear resizes, with and without aligned corners."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return both, added."""
        one = F.interpolate(x, size=(24, 40), mode="bilinear", align_corners=True)
        return one + F.interpolate(x, size=(24, 40), mode="bilinear", align_corners=False)


class Bicubic(OfOneCall):
    """A bicubic resize."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x at one and a half times the size."""
        return F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=False)


class Nearest(OfOneCall):
    """Nearest resizes, to twice the size and to one that is no multiple."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x at 32 and then at 25."""
        return F.interpolate(F.interpolate(x, scale_factor=2.0), size=(25, 25))


class Shuffles(OfOneCall):
    """Pixel shuffles, there and back."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, shuffled."""
        return F.pixel_unshuffle(F.pixel_shuffle(x, 2).relu(), 4)


class Grid(OfOneCall):
    """grid_sample, bilinear."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, sampled at places that follow from it."""
        grid = x[:, :2].permute(0, 2, 3, 1).tanh()
        return F.grid_sample(x, grid, align_corners=False)


class Windows(OfOneCall):
    """Rolled windows, as in Swin."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return windows of 4x4 of x rolled by two."""
        x = torch.roll(x, (-2, -2), (2, 3))
        return x.reshape(2, 8, 4, 4, 4, 4).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


class Assigned(OfOneCall):
    """A slice that is written to in place."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with every second column halved."""
        x = x.clone()
        x[:, :, :, ::2] = x[:, :, :, ::2] * 0.5
        return x


class Padded(OfOneCall):
    """Reflected and replicated borders."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with both."""
        return F.pad(F.pad(x, (1, 2, 1, 2), "reflect"), (2, 1, 2, 1), "replicate")


class Activations(OfOneCall):
    """Hardswish, SiLU, Mish, ELU, softplus and hardsigmoid."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return their sum."""
        one = F.hardswish(x) + F.silu(x) + F.elu(x) + F.hardsigmoid(x)
        return one + F.mish(x) + F.softplus(x)


class Chosen(OfOneCall):
    """topk, gather and where."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return the greatest of every row, where they are positive."""
        values, places = x.flatten(2).topk(5, dim=2)
        return torch.where(values > 0, values, x.flatten(2).gather(2, places // 2))


class Sums(OfOneCall):
    """cumsum, logsumexp and a norm."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return their product."""
        return x.cumsum(3) * x.logsumexp(1, keepdim=True) * x.norm(dim=1, keepdim=True)


class Unfolded(OfOneCall):
    """unfold to patches."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return patches of 3x3, each a column."""
        return F.unfold(x, 3, padding=1, stride=2)


class Branched(OfOneCall):
    """A scripted function with a branch: `If` in the graph."""

    def call(self, x: torch.Tensor) -> torch.Tensor:
        """Return x or its half."""
        return halved(x)


@torch.jit.script
def halved(x: torch.Tensor) -> torch.Tensor:
    """Return x halved where its sum is positive."""
    return x / 2 if bool(x.sum() > 0) else x * 2


NETS = {one.__name__: one for one in OfOneCall.__subclasses__()}


def build(name: str) -> nn.Module:
    """Return the net of that name."""
    return NETS[name]()
