"""Which BatchNorms are synchronised, and the statistics of all images from those of parts."""

from collections.abc import Iterable
from typing import Any

from common.errors import ConfigError
from common.param_groups import found_by

KEY = "processes.sync_norm"


def norms_found(pattern: str | None, names: Iterable[str]) -> list[str]:
    """Return the paths of BatchNorms in which the expression `pattern` is found; None: none.

    Raises ConfigError where it finds none of `names`, with the nearest.
    """
    if pattern is None:
        return []
    known = list(names)
    if not known:
        raise ConfigError(f"{KEY} is {pattern!r}, and the net has no BatchNorm; null finds none")
    return found_by(pattern, known, KEY, "BatchNorm")


def joined_statistics(cells: Any) -> tuple[Any, Any, Any]:
    """Return number of values, mean [C] and sum of squared deviations [C] of all processes.

    cells: tensor [processes, 2 C + 1] of mean, sum of squared deviations and number of each. Chan,
    Golub and LeVeque, Stanford STAN-CS-79-773, formula 2.1, for any number of parts.
    """
    channels = (cells.shape[1] - 1) // 2
    means, squares = cells[:, :channels], cells[:, channels : 2 * channels]
    counts = cells[:, 2 * channels :]
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    return total, mean, (squares + counts * (means - mean) ** 2).sum(0)
