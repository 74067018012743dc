"""The parts of a config in either framework; the other one is not loaded."""

from commands.subjects.named.parts import Parts
from common.settings.own import FRAMEWORKS
from common.settings.run import Settings


def parts_of(settings: Settings, framework: str) -> Parts:
    """Return the parts of "torch" or "paddle"; the other framework is not loaded."""
    if framework == "torch":
        from commands.subjects.named.parts_torch import TorchParts

        return TorchParts(settings)
    from commands.subjects.named.parts_paddle import PaddleParts

    return PaddleParts(settings)


def both_parts(settings: Settings) -> tuple[Parts, Parts]:
    """Return the parts of torch, and of Paddle."""
    theirs, ours = (parts_of(settings, framework) for framework in FRAMEWORKS)
    return theirs, ours
