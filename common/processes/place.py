"""Which of the processes of a training this one is: the launcher says it by the environment."""

import os
from dataclasses import dataclass

from common.errors import UserError

LAUNCHERS = {
    "torch": "torchrun --nproc_per_node N tools/train_torch.py CONFIG",
    "paddle": "python -m paddle.distributed.launch --nproc_per_node N tools/train_paddle.py CONFIG",
}
# Number of this process, of all, the same on this machine, and what only its launcher sets.
_VARIABLES = {
    "torch": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
    "paddle": (
        "PADDLE_TRAINER_ID",
        "PADDLE_TRAINERS_NUM",
        "PADDLE_RANK_IN_NODE",
        "PADDLE_LOCAL_SIZE",
        "PADDLE_TRAINERS_NUM",
    ),
}


@dataclass(frozen=True)
class Place:
    """A process among those of its training.

    Attributes:
        rank: its number among all, from 0.
        size: how many there are.
        local_rank: its number on this machine, which is also that of its card.
        local_size: how many are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def place_of(framework: str) -> Place:
    """Read the place of this process from what the launcher of "torch" or "paddle" set.

    Raises UserError for the other framework's launcher, and for variables that say nothing.
    """
    other = "paddle" if framework == "torch" else "torch"
    rank, size, local_rank, local_size, _ = _VARIABLES[framework]
    if _number(size, 1) == 1:
        if _VARIABLES[other][4] in os.environ and _number(_VARIABLES[other][1], 1) > 1:
            raise UserError(
                f"several processes of train_{framework} were started by the launcher of {other}, "
                f"each of which would train alone; start them by `{LAUNCHERS[framework]}`"
            )
        return Place()
    place = Place(
        _number(rank), _number(size), _number(local_rank), _number(local_size, _number(size))
    )
    if not 0 <= place.rank < place.size:
        raise UserError(
            f"{rank}={place.rank} and {size}={place.size} name no process: expected 0 to "
            f"{place.size - 1}; start it by `{LAUNCHERS[framework]}`"
        )
    return place


def _number(variable: str, default: int = 0) -> int:
    """Return a variable of the environment as a whole number."""
    text = os.environ.get(variable, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise UserError(f"{variable}={text} in the environment: expected a number") from None
