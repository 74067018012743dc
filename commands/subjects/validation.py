"""Whether both nets of a config take its validation images, asked before anything is trained."""

from typing import Any

from commands.subjects.named.parts import Parts
from common.evaluation.evaluate import predicted
from common.evaluation.protocol import ByProtocol

LOOKED_AT, SIZES = 16, 3  # validation images whose sizes are seen, and sizes that are tried


def sizes_taken(parts: tuple[Parts, Parts]) -> list[tuple[int, int]]:
    """Run both nets on a validation image of each of the first sizes, as training evaluates.

    Args:
        parts: what the config names, of its own sizes, in torch and in Paddle.

    Returns:
        The sizes (height, width) that were tried, the smallest first.

    Raises:
        UserError: a net cannot take an image, which it names with its size and what helps.
    """
    val = parts[0].data().val
    found: dict[tuple[int, int], tuple[int, Any]] = {}
    for index in range(min(len(val), LOOKED_AT)):
        image, _ = val.sample(0, index)
        found.setdefault((image.shape[1], image.shape[2]), (index, image[None]))
    sizes = sorted(found, key=lambda size: size[0] * size[1])[:SIZES]
    for part in parts:
        net = part.inference(part.net())
        for index, image in (found[size] for size in sizes):
            predicted(ByProtocol(net, part.ask).predict, image, part.settings.evaluate, index)
    return sizes
