"""The two halves of an alignment: --record where torch is, --force where Paddle is."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from align.judge.words import Words, printed
from commands.align.errors import errors_of_nets
from commands.align.nets import inputs
from commands.align.run import align_each
from commands.entry import print_json
from commands.parser import complain
from common.locks import alone_at
from common.streams import say
from common.words.language import phrase
from common.words.typed import command_line


def run_half(options: Any, stage: str, train: bool) -> int:
    """Run the half that the options ask for; `stage` is forward or backward."""
    if options.record:
        return record_reference(options, train, backward=stage == "backward")
    return force_port(options, stage)


def record_reference(options: Any, train: bool, backward: bool) -> int:
    """Record the reference."""
    from align import record_trace
    from align.nets.progress import doing, progress
    from common.terminal import working

    with doing("the import of torch"):
        from commands.subjects.callables_torch import criterion_torch
    with doing("the construction of the reference"):
        net, name, overrides = _reference(options)
    loss = getattr(options, "torch_loss", None)
    judged_with = criterion_torch(loss) if loss else None
    given = inputs(options, name, (net, None), train, labelled=loss is not None)
    for remark in vars(options).pop("remarks", []):
        complain(phrase("note: {note}", note=printed(remark)))
    settings = {
        "model": None if options.torch else name,
        "torch": options.torch,
        "overrides": overrides,
        "weights": options.weights,
        "command": command_line(),
    }
    with (
        alone_at(Path(options.record)),
        working(phrase("recording {name}", name=name), options.quiet, progress),
        errors_of_nets(name),
    ):
        folder = record_trace(
            net,
            given,
            options.record,
            train=train,
            backward=backward,
            torch_loss=judged_with,
            seed=options.seed,
            settings=settings,
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if options.json:
        print_json({"written": str(folder), "bytes": size, "settings": settings})
    else:
        found = {"name": name, "folder": folder, "size": f"{size / 1e6:.1f}"}
        say(phrase("recorded: {name} in {folder}, {size} MB; take it to where Paddle is", **found))
    return 0


def _reference(options: Any) -> tuple[Any, str, dict[str, Any]]:
    """Return (reference, name, options of the row)."""
    from commands.subjects import rows
    from commands.subjects.inputs import options_of
    from commands.subjects.own import build_reference, fill_reference

    if not options.torch:
        return rows.reference_of_row(options.model, options.weights, options.seed)
    arguments = options_of(options.torch_args, "--torch-args")
    net = build_reference(options.torch, options.seed, arguments)
    if options.weights:
        fill_reference(net, options.weights, f"--torch {options.torch}")
    return net, options.torch, {}


def force_port(options: Any, stage: str) -> int:
    """Force the port on a recorded trace."""
    from align import force_trace
    from align.stored.port import PORT
    from align.stored.reference import StoredReference
    from commands.subjects.own import without_partner
    from common.errors import UserError

    manifest = recorded(options, options.force)
    if stage != ("backward" if manifest.backward else "forward"):
        found = "with" if manifest.backward else "without"
        raise UserError(
            f"--force {options.force}: was recorded {found} gradients; use the other of "
            "align_forward.py and align_backward.py"
        )

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        from commands.subjects.callables_paddle import criterion_paddle

        port = _port(options, manifest)
        loss = getattr(options, "paddle_loss", None)
        judged_with = criterion_paddle(loss) if loss else None
        reference = StoredReference(options.force)
        place = Path(options.force) / PORT
        with alone_at(place) if options.keep else nullcontext():
            report = force_trace(
                port, reference, loss=judged_with, rules=options.rules, keep=options.keep
            )
        if options.paddle:
            report.notes += without_partner(reference.inner(), port, options.rules)
        if options.keep and not options.quiet:
            report.notes.append(Words("written", paths=place))
        return report

    mode = "train" if manifest.train else "eval"
    return align_each(
        options, f"{stage}_{mode}", f"{stage}, {mode} mode, from {options.force}", align, pair=False
    )


def _port(options: Any, manifest: Any) -> Any:
    """Return the port that the options name, or the twin of the recorded row."""
    from commands.subjects.inputs import options_of

    if options.paddle:
        from commands.subjects.callables_paddle import build_paddle

        arguments = options_of(options.paddle_args, "--paddle-args")
        return build_paddle(options.paddle, arguments)
    import paddle_impl

    same = options.model == manifest.settings.get("model")
    return paddle_impl.build_model(
        options.model, **(manifest.settings.get("overrides") or {} if same else {})
    )


def recorded(options: Any, folder: Any, needs_port: bool = True) -> Any:
    """Return the manifest of a trace; options that stand in reports become what was recorded."""
    from align.stored.files import read_manifest
    from common.errors import UserError

    manifest = read_manifest(Path(folder))
    settings = manifest.settings
    name = options.paddle or options.model or settings.get("model")
    if not name and needs_port:
        raise UserError(f"{folder}: records {settings.get('torch')}; name its port by --paddle")
    options.model = name or settings.get("torch")
    options.seed, options.weights = settings.get("seed"), settings.get("weights")
    return manifest


def judge_again(options: Any, judge: Callable[[Any], Any]) -> int:
    """Judge again what `--force DIR --keep` stored; `judge` makes a report of the folder."""
    recorded(options, options.config, needs_port=False)
    title = f"{options.config}, judged again"
    return align_each(options, "judge", title, lambda *_: judge(options.config), pair=False)
