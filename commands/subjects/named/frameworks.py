"""The parts of a config in either framework; the other one is not loaded."""

from commands.subjects.named.parts import Parts
from common.processes.group import ProcessGroup
from common.settings.own import FRAMEWORKS
from common.settings.run import Settings


def parts_of(settings: Settings, framework: str) -> Parts:
    """Return the parts of "torch" or "paddle"; the other framework is not loaded."""
    if framework == "torch":
        from commands.subjects.named.parts_torch import TorchParts

        return TorchParts(settings)
    from commands.subjects.named.parts_paddle import PaddleParts

    return PaddleParts(settings)


def processes_of(settings: Settings, framework: str, device: str) -> ProcessGroup:
    """Join the other processes of a training in "torch" or "paddle", where a launcher says so.

    Raises UserError where there is no such device, or one of them is not there.
    """
    if framework == "torch":
        from torch_ref import processes, train
    else:
        from paddle_impl import processes, train  # type: ignore[no-redef]  # twins
    train.choose_device(device)
    return processes.start_processes(device, settings.processes.timeout_s)


def both_parts(settings: Settings) -> tuple[Parts, Parts]:
    """Return the parts of torch, and of Paddle."""
    theirs, ours = (parts_of(settings, framework) for framework in FRAMEWORKS)
    return theirs, ours
