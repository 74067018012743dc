"""The flow of `align_forward` and `align_backward`."""

from typing import Any

from align.judge.words import Words
from commands.align import against, halves, nets
from commands.align.run import align_each
from commands.subjects.inputs import seeded_inputs


def align_forward_pass(options: Any) -> int:
    """Align the forward pass, or run the half of it that the options ask for."""
    if options.record or options.force:
        return halves.run_half(options, "forward", options.train)
    if options.against:
        return against.align_port(options)
    if options.third:
        against.require_graph(options.third)
    mode = "train" if options.train else "eval"
    recipe = None if options.config is None else nets.recipe_of(options)

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_forward

        given = _inputs(options, recipe, name, (torch_net, paddle_net), options.train)
        how = {"train": options.train, "rules": recipe.pair.rules if recipe else options.rules}
        if options.third:
            report = against.align_with_third(options.third, torch_net, paddle_net, given, how)
        else:
            report = align_forward(torch_net, paddle_net, given, **how)
        if options.float32:
            from align.rungs.float32 import add_float32

            add_float32(report, torch_net, paddle_net, given, **how)
        if options.export_npy:
            from commands.align.reprod_log import export_forward

            both = torch_net, paddle_net
            written = export_forward(options.export_npy, *both, given, how["rules"])
            report.notes.append(Words("written", paths=", ".join(map(str, written.paths))))
        return report

    return align_each(options, f"forward_{mode}", f"forward, {mode} mode", align, recipe)


def _inputs(options: Any, recipe: Any, name: str, both: tuple[Any, Any], train: bool) -> Any:
    """Return the inputs of the options, of a config seeded ones of its `reproduce.input_shape`."""
    if recipe is not None:
        shapes = options.input_shape
        return seeded_inputs(shapes, options.seed) if shapes else recipe.inputs(train)
    labelled = bool(getattr(options, "torch_loss", None))
    return nets.inputs(options, name, both, train, labelled=labelled)


def align_backward_pass(options: Any) -> int:
    """Align the backward pass, or run the half of it that the options ask for."""
    train = not options.eval
    if options.record or options.force:
        return halves.run_half(options, "backward", train)
    mode = "train" if train else "eval"
    recipe = None if options.config is None else nets.recipe_of(options)

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from align import align_backward

        both = (torch_net, paddle_net)
        criteria = nets.losses(options)
        given = _inputs(options, recipe, name, both, train)
        rules = recipe.pair.rules if recipe else options.rules
        return align_backward(*both, given, *criteria, train=train, rules=rules)

    return align_each(options, f"backward_{mode}", f"backward, {mode} mode", align, recipe)
