"""Draws the pictures of docs/pooling_and_dilation.md from what both frameworks compute."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PICTURES = ROOT / "docs" / "pictures"
LENGTH, BINS = 10, 4
GRIDS = (1, 2, 3, 6)  # of the pyramid of PSPNet
DILATIONS = (1, 2, 4)
SIDES = ("torch", "Paddle")


def pooled(side: str, image: np.ndarray, size: Sequence[int], kind: str = "avg") -> np.ndarray:
    """Return `image` [N, C, H, W] after adaptive pooling to `size` (height, width).

    `side` is "torch" or "Paddle", `kind` "avg" or "max". Dtype is kept.
    """
    if side == "torch":
        import torch
        from torch.nn import functional as torch_functional

        function = getattr(torch_functional, f"adaptive_{kind}_pool2d")
        return function(torch.from_numpy(image), tuple(size)).numpy()
    import paddle
    from paddle.nn import functional as paddle_functional

    function = getattr(paddle_functional, f"adaptive_{kind}_pool2d")
    return function(paddle.to_tensor(image), list(size)).numpy()


def bins_of(side: str, length: int, count: int) -> np.ndarray:
    """Return which inputs each bin averages, and by how much: [count, length].

    Found by pooling one unit impulse after the other, not from a formula.
    """
    impulses = np.eye(length)[:, None, None, :]
    return pooled(side, impulses, (1, count))[:, 0, 0].T


def convolved(side: str, image: np.ndarray, weight: np.ndarray, **settings: Any) -> np.ndarray:
    """Return the convolution of `image` [N, C, H, W] with `weight` [out, C, k, k].

    `settings`: stride, padding, dilation, as either framework takes them.
    """
    if side == "torch":
        import torch

        return torch.nn.functional.conv2d(
            torch.from_numpy(image), torch.from_numpy(weight), **settings
        ).numpy()
    import paddle

    return paddle.nn.functional.conv2d(
        paddle.to_tensor(image), paddle.to_tensor(weight), **settings
    ).numpy()


def stencil(side: str, dilations: Sequence[int], same: bool = False) -> np.ndarray:
    """Return what one pixel reaches through 3x3 convolutions of ones, one after the other.

    [21, 21]; the padding is the dilation, or the word "same" where `same`.
    """
    image = np.zeros((1, 1, 21, 21))
    image[0, 0, 10, 10] = 1
    for dilation in dilations:
        padding: Any = ("same" if side == "torch" else "SAME") if same else dilation
        image = convolved(side, image, np.ones((1, 1, 3, 3)), padding=padding, dilation=dilation)
    return image[0, 0]


def street() -> np.ndarray:
    """Return a rendered street, grey, 0..1: [1, 1, 128, 256] float64."""
    import tempfile

    import cv2

    from common.data.toy import write_toy_cityscapes

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "toy"
        write_toy_cityscapes(root, train=1, val=1, size_hw=(128, 256))
        path = next(root.glob("leftImg8bit/val/*/*.png"))
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return image[None, None].astype(np.float64) / 255


def draw_bins() -> Any:
    """Draw the bins of adaptive average pooling, on both sides."""
    figure, axes = new_figure(1, 2, (9, 2.6))
    for axis, side in zip(axes, SIDES, strict=True):
        weights = bins_of(side, LENGTH, BINS)
        axis.pcolormesh(weights, cmap="Blues", vmin=0, vmax=0.6, edgecolors="0.8")
        for row, column in np.argwhere(weights > 0):
            share = f"{weights[row, column]:.2f}"
            axis.text(column + 0.5, row + 0.5, share, ha="center", va="center", fontsize=8)
        axis.invert_yaxis()
        axis.set(title=side, xlabel="input", ylabel="output")
        axis.set_xticks(np.arange(LENGTH) + 0.5, range(LENGTH))
        axis.set_yticks(np.arange(BINS) + 0.5, range(BINS))
    return figure


def draw_pyramid() -> Any:
    """Draw a street pooled to the grids of PSPNet, on both sides, and the difference."""
    image = street()
    figure, axes = new_figure(3, len(GRIDS) + 1, (11, 4.2))
    for row in axes:
        for axis in row:
            axis.set(xticks=[], yticks=[])
    axes[0][0].imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    axes[0][0].set_title("input 128x256")
    axes[1][0].axis("off")
    axes[2][0].axis("off")
    for column, grid in enumerate(GRIDS, 1):
        theirs, ours = (pooled(side, image, (grid, grid))[0, 0] for side in SIDES)
        distance = np.abs(theirs - ours)
        for row, shown in enumerate((theirs, ours)):
            axes[row][column].imshow(shown, cmap="gray", vmin=0, vmax=1, aspect=0.5)
        axes[2][column].imshow(distance, cmap="Reds", vmin=0, vmax=1e-12, aspect=0.5)
        axes[0][column].set_title(f"{SIDES[0]}, {grid}x{grid}")
        axes[1][column].set_title(f"{SIDES[1]}, {grid}x{grid}")
        axes[2][column].set_title(f"largest difference {distance.max():.0e}", fontsize=8)
    return figure


def draw_dilation() -> Any:
    """Draw what one pixel reaches through a dilated convolution, on both sides."""
    return draw_stencils(
        [
            *(((d,), False, f"dilation {d}, padding {d}") for d in DILATIONS),
            ((2,), True, 'dilation 2, padding "same"'),
        ]
    )


def draw_stacks() -> Any:
    """Draw what one pixel reaches through three dilated convolutions, on both sides."""
    return draw_stencils(
        [(stack, False, f"dilations {stack}") for stack in ((1, 1, 1), (2, 2, 2), (1, 2, 5))]
    )


def draw_stencils(columns: Sequence[tuple[Sequence[int], bool, str]]) -> Any:
    """Draw stencils, one column each, torch above Paddle."""
    figure, axes = new_figure(2, len(columns), (2.6 * len(columns), 5.4))
    for column, (dilations, same, title) in enumerate(columns):
        for row, side in enumerate(SIDES):
            reached = stencil(side, dilations, same)
            axis = axes[row][column]
            shades = np.where(reached > 0, 0.3 + 0.7 * reached / reached.max(), 0)
            axis.pcolormesh(shades, cmap="Blues", vmin=0, vmax=1, edgecolors="0.9", linewidth=0.3)
            axis.set(xticks=[], yticks=[], aspect="equal")
            axis.set_title(f"{side}: {title}", fontsize=8)
    return figure


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure that needs no screen, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


DRAWINGS: dict[str, Callable[[], Any]] = {
    "adaptive_bins.png": draw_bins,
    "adaptive_pyramid.png": draw_pyramid,
    "dilated_taps.png": draw_dilation,
    "dilated_stacks.png": draw_stacks,
}


def main() -> int:
    """Draw all pictures."""
    from common.files import write_picture

    for name, draw in DRAWINGS.items():
        write_picture(draw(), PICTURES / name, dpi=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
