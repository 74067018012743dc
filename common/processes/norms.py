"""Which BatchNorms are synchronised, and the statistics of all images from those of parts."""

import re
from collections.abc import Iterable
from typing import Any

from common.errors import ConfigError

KEY = "processes.sync_norm"


def norms_found(pattern: str | None, names: Iterable[str]) -> list[str]:
    """Return the paths of BatchNorms in which the expression `pattern` is found; None: none.

    Raises ConfigError where it finds none of `names`.
    """
    if pattern is None:
        return []
    known = list(names)
    found = [name for name in known if re.search(pattern, name)]
    if not found:
        listed = ", ".join(known[:3]) if known else "the net has no BatchNorm"
        raise ConfigError(
            f"{KEY} is {pattern!r}, which is found in the path of no BatchNorm; there are "
            f"{len(known)}: {listed}{', ...' if len(known) > 3 else ''}. `.` finds all, null none"
        )
    return found


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
