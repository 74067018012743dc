"""What several processes of a training do together, each with a card or cores of its own."""

from common.settings.section import Above0, Expression, Section


class Processes(Section):
    """Which BatchNorms see the images of all processes, and how long one waits for another.

    `sync_norm` is a regular expression that is looked for in the paths of the BatchNorms: `.` finds
    all. Without it each sees its own images, and the first process keeps its running statistics.
    """

    sync_norm: Expression | None = None
    timeout_s: Above0 = 1800.0
