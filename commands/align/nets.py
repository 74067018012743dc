"""The nets, losses, optimizers and inputs that the options of an alignment command name."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from commands.align.options import is_own

if TYPE_CHECKING:
    from commands.subjects.recipe import Recipe


def nets(options: Any, name: str | None) -> tuple[Any, Any, str]:
    """Return (torch net, Paddle net, name) as the options say."""
    from commands.subjects.misfits import misfits_advised, of_options
    from commands.subjects.own import own_pair
    from commands.subjects.rows import pair_with_weights, seeded_pair

    if is_own(options):
        with misfits_advised(of_options(options.paddle, options.rules)):
            pair = own_pair(
                options.torch,
                options.paddle,
                weights=options.weights,
                rules=options.rules,
                seed=options.seed,
                **arguments_of_nets(options),
            )
        return *pair, options.paddle
    if options.weights:
        return pair_with_weights(options.weights, name)
    name = name or "stdc2_seg"
    torch_net, paddle_net = seeded_pair(name, options.seed)
    return torch_net, paddle_net, name


def recipe_of(options: Any) -> "Recipe":
    """Return the recipe of the config that the options name; --rules stands for `model.rules`."""
    from commands.subjects.recipe import Recipe

    rules = [f"model.rules={options.rules}"] if options.rules else []
    recipe = Recipe(options.config, (*options.overrides, *rules))
    options.model = recipe.settings.model.name
    return recipe


def take_nets(options: Any, recipe: "Recipe") -> None:
    """Put the user's own nets of a config where options name them; UserError for a row."""
    from common.errors import UserError

    for part in recipe.parts:
        own = part.own("model")
        if own is None:
            raise UserError(f"--propose: {options.config} names a row, which brings its rules")
        pairs = [f"{key}={json.dumps(value)}" for key, value in own.arguments.items()]
        setattr(options, part.framework, own.spec)
        setattr(options, f"{part.framework}_args", pairs)
    options.model, options.rules = None, recipe.pair.rules
    options.weights = options.weights or recipe.settings.weights.path
    options.input_shape = options.input_shape or [list(recipe.settings.reproduce.input_shape)]


def arguments_of_nets(options: Any) -> dict[str, Any]:
    """Return what both nets' callables are called with, as `own_pair` takes it."""
    from commands.subjects.inputs import options_of

    return {
        "torch_args": options_of(options.torch_args, "--torch-args"),
        "paddle_args": options_of(options.paddle_args, "--paddle-args"),
    }


def factories(options: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what builds each of one's own nets anew."""
    from commands.subjects.callables_paddle import build_paddle
    from commands.subjects.callables_torch import build_torch

    given = arguments_of_nets(options)
    return (
        lambda: build_torch(options.torch, given["torch_args"]),
        lambda: build_paddle(options.paddle, given["paddle_args"]),
    )


def losses(options: Any) -> tuple[Any, Any]:
    """Return both criteria, (None, None) where none is given."""
    from commands.subjects.callables_paddle import criterion_paddle
    from commands.subjects.callables_torch import criterion_torch

    if not options.torch_loss:
        return None, None
    return criterion_torch(options.torch_loss), criterion_paddle(options.paddle_loss)


def optimizers(options: Any, torch_net: Any, paddle_net: Any, losses: tuple[Any, Any]) -> Any:
    """Return both factories of optimizers, which may ask for their net, or names of parameters."""
    from common.errors import UserError

    if not options.torch_optimizer or not options.torch_loss:
        raise UserError(
            "training steps of your own nets need --torch-loss, --paddle-loss, "
            "--torch-optimizer and --paddle-optimizer"
        )
    theirs = _optimizer(options.torch_optimizer, "--torch-optimizer", torch_net, losses[0])
    return theirs, _optimizer(options.paddle_optimizer, "--paddle-optimizer", paddle_net, losses[1])


def _optimizer(spec: str, option: str, net: Any, loss: Any) -> Callable[[list[Any]], Any]:
    from commands.subjects.callables import load_callable
    from commands.subjects.optimizers import optimizer_of

    make = load_callable(spec, option)
    return lambda parameters: optimizer_of(make, f"{option} {spec}", parameters, net, loss)


def schedules(options: Any) -> tuple[Callable[[int], float] | None, Callable[[int], float] | None]:
    """Return both functions of the step that give its rate, None where a side has none."""
    return _schedule(options, "torch"), _schedule(options, "paddle")


def averages(options: Any) -> dict[str, Callable[[Any], Any]]:
    """Return what makes both moving averages, as the rungs take it; nothing where none is given."""
    from commands.subjects.callables import load_callable

    found = {}
    for side in ("torch", "paddle"):
        spec, option = getattr(options, f"{side}_average", None), f"--{side}-average"
        if spec:
            found[f"{side}_average"] = load_callable(spec, option)
    return found


SCHEDULER_ADVICE = (
    "give a function of the step, from 0, that returns its rate; a scheduler goes into the "
    "optimizer that its callable returns, and is stepped there"
)


def _schedule(options: Any, side: str) -> Callable[[int], float] | None:
    from commands.subjects.callables import called, load_callable
    from commands.subjects.named.own.rates import checked
    from common.places import refuse_signature

    spec, option = getattr(options, f"{side}_schedule", None), f"--{side}-schedule"
    if not spec:
        return None
    rate, what = load_callable(spec, option), f"{option} {spec}"
    refuse_signature(rate, what, ["step"], remedy=SCHEDULER_ADVICE)

    def of_step(step: int) -> float:
        return checked(called(lambda: rate(step), what, None), f"{what}, step {step}")

    return of_step


def batches(options: Any, torch_net: Any, paddle_net: Any, labelled: bool = True) -> list[Any]:
    """Return the arrays of every file of --inputs."""
    from commands.subjects.inputs import forget_noted, read_inputs
    from common.errors import UserError

    if not options.inputs:
        raise UserError("give --inputs FILE.npz with the nets' inputs and, as the last, the label")
    say = vars(options).setdefault("remarks", []).append
    forget_noted()
    return [read_inputs(path, torch_net, paddle_net, labelled, say) for path in options.inputs]


def inputs(
    options: Any, name: str, nets: tuple[Any, Any], train: bool, labelled: bool = False
) -> Any:
    """Return the inputs of the options, or seeded ones of the row's shape."""
    from commands.subjects.inputs import check_input_shape, seeded_detection, seeded_inputs
    from common.errors import UserError
    from common.pairs import IMAGE_SIZE, get_pair

    if options.inputs:
        if options.input_shape or len(options.inputs) > 1:
            raise UserError("give one file of --inputs, or --input-shape")
        return batches(options, *nets, labelled=labelled)[0]
    shapes, objects = options.input_shape, getattr(options, "objects", None)
    if objects is not None:
        if not (shapes or is_own(options)):
            count, *image = get_pair(name).default_input
            shapes = [image] * count
        return seeded_detection(shapes or [], objects, options.seed, train)
    if is_own(options):
        if not shapes or labelled:
            what = "with the label as the last array" if labelled else "or --input-shape"
            raise UserError(f"nets of your own need --inputs FILE.npz, {what}")
    else:
        fixed = {IMAGE_SIZE: getattr(nets[0], IMAGE_SIZE, None)}
        default = get_pair(name).input_of(fixed)
        shapes = shapes or [list(default)]
        if len(shapes) > 1:
            raise UserError("a row of the table takes one --input-shape")
        check_input_shape(tuple(shapes[0]), default, train)
    return seeded_inputs(shapes, options.seed)
