"""The two halves of an alignment: --record where torch is, --force where Paddle is."""

import argparse
from pathlib import Path
from typing import Any

import _align
from _entry import command_line, print_json

# What a half has no use for, by option: (its value where it is not given, why not).
NOT_WHILE_RECORDING = (
    *("paddle", "paddle_args", "paddle_loss", "rules", "propose", "all", "keep"),
    *("float32", "export_npy", "report"),
)
NOT_WHILE_FORCING = (
    *("torch", "torch_args", "torch_loss", "weights", "input_shape", "inputs", "propose", "all"),
    *("train", "eval", "float32", "export_npy"),
)


def add(command: argparse.ArgumentParser) -> None:
    """Add the options of a run in two environments."""
    group = command.add_argument_group("in two environments (docs/trace_format.md)")
    group.add_argument(
        "--record", metavar="DIR", help="run the reference alone, where only torch is; write DIR"
    )
    group.add_argument(
        "--force", metavar="DIR", help="run the port alone, where only Paddle is, against DIR"
    )
    group.add_argument(
        "--keep",
        action="store_true",
        help="with --force: store the port's tensors in DIR, for `align_stage.py judge DIR`",
    )


def check(command: argparse.ArgumentParser, options: Any) -> bool:
    """Refuse what contradicts itself; return whether it is one of the two halves."""
    record, force = (getattr(options, name, None) for name in ("record", "force"))
    if getattr(options, "keep", False) and not force:
        command.error("--keep goes with --force")
    if not record and not force:
        return False
    if record and force:
        command.error("--record and --force are two runs, one after the other")
    half, refused = ("record", NOT_WHILE_RECORDING) if record else ("force", NOT_WHILE_FORCING)
    for name in refused:
        if getattr(options, name, None):
            command.error(f"--{name.replace('_', '-')} does not go with --{half}")
    if options.model and (options.torch or options.paddle):
        command.error("nets of your own stand instead of a row of the table")
    if options.torch and not (options.inputs or options.input_shape):
        command.error("nets of your own have no default input: give --inputs or --input-shape")
    if force and options.rules and not options.paddle:
        command.error("--rules goes with --paddle")
    return True


def run(options: Any, stage: str, train: bool) -> int:
    """Run the half that the options ask for; `stage` is forward or backward."""
    if options.record:
        return record(options, train, backward=stage == "backward")
    return force(options, stage)


def record(options: Any, train: bool, backward: bool) -> int:
    """Record the reference."""
    from align import own, record_trace
    from align.running import doing
    from common.terminal import working

    with doing("the import of torch"):
        import torch
    with doing("the construction of the reference"):
        net, name, overrides = _reference(options)
    loss = getattr(options, "torch_loss", None)
    criterion = own.criterion(loss, "--torch-loss", torch.nn.Module) if loss else None
    given = _align.inputs(options, name, (net, None), train, labelled=loss is not None)
    settings = {
        "model": None if options.torch else name,
        "torch": options.torch,
        "overrides": overrides,
        "weights": options.weights,
        "command": command_line(),
    }
    with working(f"recording {name}", options.quiet), _align.told(name):
        folder = record_trace(
            net,
            given,
            options.record,
            train=train,
            backward=backward,
            torch_loss=criterion,
            seed=options.seed,
            settings=settings,
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if options.json:
        print_json({"written": str(folder), "bytes": size, "settings": settings})
    else:
        print(f"recorded: {name} in {folder}, {size / 1e6:.1f} MB; take it to where Paddle is")
    return 0


def _reference(options: Any) -> tuple[Any, str, dict[str, Any]]:
    """Return (reference, name, options of the row)."""
    from align import own, subjects

    if not options.torch:
        return subjects.reference_of_row(options.model, options.weights, options.seed)
    arguments = own.options_of(options.torch_args, "--torch-args")
    net = own.build_reference(options.torch, options.seed, arguments)
    if options.weights:
        own.fill_reference(net, options.weights, options.torch)
    return net, options.torch, {}


def force(options: Any, stage: str) -> int:
    """Force the port on a recorded trace."""
    from align import force_trace, own
    from align.trace_reference import StoredReference
    from common.errors import UserError

    manifest = recorded(options, options.force)
    if stage != ("backward" if manifest.backward else "forward"):
        found = "with" if manifest.backward else "without"
        raise UserError(
            f"--force {options.force}: was recorded {found} gradients; use the other of "
            "align_forward.py and align_backward.py"
        )

    def align(torch_net: Any, paddle_net: Any, name: str) -> Any:
        import paddle

        port = _port(options, manifest)
        loss = getattr(options, "paddle_loss", None)
        criterion = own.criterion(loss, "--paddle-loss", paddle.nn.Layer) if loss else None
        reference = StoredReference(options.force)
        report = force_trace(
            port, reference, loss=criterion, rules=options.rules, keep=options.keep
        )
        if options.paddle:
            report.notes += own.without_partner(reference.inner(), port, options.rules)
        if options.keep and not options.quiet:
            report.notes.append(f"written: {Path(options.force) / 'port'}")
        return report

    mode = "train" if manifest.train else "eval"
    return _align.align_each(
        options, f"{stage}_{mode}", f"{stage}, {mode} mode, from {options.force}", align, pair=False
    )


def _port(options: Any, manifest: Any) -> Any:
    """Return the port that the options name, or the twin of the recorded row."""
    import paddle

    from align import own

    if options.paddle:
        arguments = own.options_of(options.paddle_args, "--paddle-args")
        return own.build(options.paddle, "--paddle", paddle.nn.Layer, arguments)
    import paddle_impl

    same = options.model == manifest.settings.get("model")
    return paddle_impl.build_model(
        options.model, **(manifest.settings.get("overrides") or {} if same else {})
    )


def recorded(options: Any, folder: Any) -> Any:
    """Return the manifest of a trace; options that stand in reports become what was recorded."""
    from align.trace_files import read_manifest
    from common.errors import UserError

    manifest = read_manifest(Path(folder))
    settings = manifest.settings
    name = options.paddle or options.model or settings.get("model")
    if not name and getattr(options, "stage", "") != "judge":
        raise UserError(f"{folder}: records {settings.get('torch')}; name its port by --paddle")
    options.model = name or settings.get("torch")
    options.seed, options.weights = settings.get("seed"), settings.get("weights")
    return manifest


def judge(options: Any) -> int:
    """Judge again what `--force DIR --keep` stored."""
    from align import judge_trace

    recorded(options, options.config)
    title = f"{options.config}, judged again"
    return _align.align_each(
        options, "judge", title, lambda *_: judge_trace(options.config), pair=False
    )
