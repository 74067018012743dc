"""What an export is verified with: noise, and a picture with surfaces and edges as photos have."""

import numpy as np

from export.deployment import Deployment

FREE_SIZES = ((96, 160), (161, 97))  # that a model of free size is run at


def images_for(deployment: Deployment) -> dict[str, np.ndarray]:
    """Return inputs float32 [N, 3, H, W] that the deployment takes, by name."""
    batch = deployment.batch or 2
    if deployment.height and deployment.width:
        size = (deployment.height, deployment.width)
        return {"noise": noise(batch, size), "picture": pictures(deployment, batch, size)}
    found = {}
    for number, free in enumerate(FREE_SIZES):
        given = (deployment.height, deployment.width)
        step, plus = deployment.size_step
        wanted = tuple(
            fixed or length // step * step + plus for fixed, length in zip(given, free, strict=True)
        )
        size = (wanted[0], wanted[1])
        made = pictures(deployment, batch, size) if number else noise(batch, size)
        found[f"{'picture' if number else 'noise'} {size[0]}x{size[1]}"] = made
    return found


def noise(batch: int, size: tuple[int, int]) -> np.ndarray:
    """Return N(0, 1) float32 [N, 3, H, W]."""
    return np.random.default_rng(0).standard_normal((batch, 3, *size), dtype=np.float32)


def pictures(deployment: Deployment, batch: int, size: tuple[int, int]) -> np.ndarray:
    """Return normalised pictures float32 [N, 3, H, W]: a shaded ground, rectangles, grain."""
    rng = np.random.default_rng(1)
    made = [deployment.normalise(picture(rng, *size)) for _ in range(batch)]
    return np.stack(made)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    canvas = 255 * (rng.random(3) * rows + rng.random(3) * columns) / 2
    for _ in range(24):
        top, left = int(rng.random() * height), int(rng.random() * width)
        high, wide = 1 + int(rng.random() * height / 2), 1 + int(rng.random() * width / 2)
        canvas[top : top + high, left : left + wide] = 255 * rng.random(3)
    grained = canvas + rng.normal(0, 4, canvas.shape)
    return grained.clip(0, 255).astype(np.uint8)
