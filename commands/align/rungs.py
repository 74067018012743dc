"""The table of rungs: how each is climbed by a config's recipe and by anybody's two nets.

`align_stage` and the ladder of `reproduce` read it. A rung that is new in `align/rungs/` is one row
here. Functions of a row load what they need when they are called: a command starts without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commands.align import own_nets

if TYPE_CHECKING:
    from align import Report
    from commands.subjects.recipe import Recipe

OfRecipe = Callable[["Recipe", Any, Any], "Report"]  # (recipe, torch net, Paddle net)
OfOwnNets = Callable[[Any, Any, Any], "Report"]  # (options, torch net, Paddle net)


@dataclass(frozen=True)
class RungRow:
    """One rung, or one way to climb it.

    `verb` is the public function of `align` behind it, "" where none is. `of_own_nets` is None
    where only a recipe says enough; `of_arrays` runs without nets, on the arrays of --inputs;
    `of_trace` on the folder of a stored trace. `has_command`: it has a command of its own; the
    others are stages of `align_stage`. `ladder` is its place on the ladder of `reproduce`, None
    where it has none.
    """

    name: str
    verb: str
    of_recipe: OfRecipe | None = None
    of_own_nets: OfOwnNets | None = None
    of_arrays: Callable[[Any], "Report"] | None = None
    of_trace: Callable[[Any], "Report"] | None = None
    has_command: bool = False
    ladder: int | None = None
    when_fast: bool = True  # `reproduce --fast` climbs it too
    needs_data: bool = False  # batches of the config's data set
    may_need_objects: bool = False  # those of the data set, where the net's losses are its own
    needs_nets: bool = True  # both, with the same weights
    compares_nets: bool = True  # not only what comes before or after them
    counts_classes: bool = False  # of pixels: the ladder has it where the net tells these
    exports: bool = False  # the ladder has it where such nets are exported


def _judge(folder: Any) -> "Report":
    from align import judge_trace

    return judge_trace(folder)


def _export(recipe: "Recipe", _: Any, paddle_net: Any) -> "Report":
    from commands.align.exported import align_export

    return align_export(recipe, paddle_net)


ROWS = (
    RungRow(
        "weights",
        "align_weights",
        lambda recipe, torch_net, paddle_net: recipe.align_weights(torch_net, paddle_net),
        own_nets.align_weights,
        ladder=1,
    ),
    RungRow(
        "init",
        "align_init",
        lambda recipe, _, __: recipe.align_init(),
        own_nets.align_init,
        ladder=2,
        when_fast=False,
        needs_nets=False,
    ),
    RungRow(
        "loss",
        "align_loss",
        lambda recipe, torch_net, _: recipe.align_loss(torch_net),
        own_nets.align_loss,
        of_arrays=own_nets.align_loss_on_arrays,
        ladder=7,
        needs_data=True,
        compares_nets=False,
    ),
    RungRow(
        "data",
        "align_data",
        lambda recipe, _, __: recipe.align_data(),
        ladder=6,
        needs_data=True,
        needs_nets=False,
        compares_nets=False,
    ),
    RungRow(
        "metric",
        "align_metric",
        lambda recipe, torch_net, _: recipe.align_metric(torch_net),
        ladder=8,
        needs_data=True,
        compares_nets=False,
        counts_classes=True,
    ),
    RungRow(
        "step",
        "align_step",
        lambda recipe, torch_net, paddle_net: recipe.align_step(torch_net, paddle_net),
        own_nets.align_step,
        needs_data=True,
    ),
    RungRow(
        "export",
        "",
        _export,
        ladder=10,
        when_fast=False,
        compares_nets=False,
        exports=True,
    ),
    RungRow("judge", "judge_trace", of_trace=_judge),
    RungRow(
        "forward, eval",
        "align_forward",
        lambda recipe, torch_net, paddle_net: recipe.align_forward(torch_net, paddle_net, False),
        has_command=True,
        ladder=3,
    ),
    RungRow(
        "forward, train",
        "align_forward",
        lambda recipe, torch_net, paddle_net: recipe.align_forward(torch_net, paddle_net, True),
        has_command=True,
        ladder=4,
        may_need_objects=True,
    ),
    RungRow(
        "backward",
        "align_backward",
        lambda recipe, torch_net, paddle_net: recipe.align_backward(torch_net, paddle_net),
        has_command=True,
        ladder=5,
        may_need_objects=True,
    ),
    RungRow(
        "training",
        "align_training",
        lambda recipe, torch_net, paddle_net: recipe.align_training(torch_net, paddle_net),
        own_nets.align_training,
        has_command=True,
        ladder=9,
        needs_data=True,
    ),
)
RUNGS = {row.name: row for row in ROWS}


def compares_nets(stage: str) -> bool:
    """Tell whether a report of `stage` is about the two nets: one of batches or losses is not."""
    return stage not in RUNGS or RUNGS[stage].compares_nets


STAGES = tuple(row.name for row in ROWS if not row.has_command)
LADDER = tuple(
    sorted((row for row in ROWS if row.ladder is not None), key=lambda row: row.ladder or 0)
)
