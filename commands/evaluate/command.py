"""The flow of `evaluate`: weights onto a validation set, scores out."""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from commands import entry, numbers
from commands.evaluate import options as protocol_options
from commands.evaluate.scores import counts_of, enough, line_of, number, scores_of, table_of
from common.documents import with_null
from common.errors import UserError
from common.locks import alone_inside
from common.streams import say
from common.terminal import labelled, screen, verdict
from common.words.language import phrase, said

LABEL = 12  # columns
INSTEAD = {
    "panoptic": "--save writes its segments",
    "instances": "--save writes its objects",
}


def parse(description: str, example: str) -> argparse.Namespace:
    """Read the command line, and set the number of threads before a framework is loaded."""
    command = entry.parser(description, example)
    entry.add_config(command, "a file of configs/, or your own")
    command.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE",
        help=".pdparams, a checkpoint of PyTorch (converted on the way), or an exported folder",
    )
    command.add_argument(
        "--framework",
        choices=("paddle", "torch"),
        default="paddle",
        help="torch: PyTorch's weights on the reference",
    )
    protocol_options.add_protocol(command)
    protocol_options.add_running(command)
    command.add_argument(
        "--save-ids", type=Path, metavar="DIR", help="write label-id PNGs, as the server takes them"
    )
    command.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write panopticapi's PNGs and JSON (panoptic nets), or COCO's results (instances)",
    )
    command.add_argument(
        "--confusion", type=Path, metavar="FILE.png", help="write the confusion matrix as a picture"
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="write over files of --save-ids, --save and --confusion",
    )
    command.add_argument(
        "--at-least", type=numbers.score, metavar="X",
        help="exit with 1 where mIoU (of panoptic nets PQ, of instances mask AP, 0..1) is below X",
    )  # fmt: skip
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    options = command.parse_intermixed_args()
    if options.framework == "torch" and options.engine not in (None, "eager"):
        command.error("--engine goes with Paddle's nets; --framework torch runs the reference")
    protocol_options.set_threads(options, options.framework)
    return options


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate as the options say, print what came out, and return the exit code."""
    from commands.align.errors import errors_of_nets
    from commands.subjects.named.config import SECTIONS, own_section, read_config

    given = [*options.overrides, *protocol_options.overrides(options)]
    settings = read_config(options.config, given)
    only_val = f"data.train_split={settings.data.val_split}"  # the training set may be elsewhere
    settings = read_config(options.config, [*given, only_val])
    own = any(own_section(settings, name) for name in SECTIONS)
    with ExitStack() as held:
        for folder in {options.save_ids, options.save} - {None}:
            held.enter_context(alone_inside(folder))
        held.enter_context(errors_of_nets(settings.model.name) if own else nullcontext())
        result = _evaluated(options, settings)
    return _tell(options, settings, result)


def _evaluated(options: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """Return what came out as plain values."""
    from commands.evaluate.ids import AlsoSeen
    from commands.evaluate.nets import Running, asked
    from commands.subjects.named.frameworks import parts_of
    from common.evaluation.evaluate import evaluate as pass_over
    from common.evaluation.protocol import ByProtocol
    from common.terminal import counting
    from common.training.feed import validation_batches

    parts = parts_of(settings, options.framework)
    data = parts.data()
    evaluator = parts.evaluator(data)
    files = _files(options, settings, data.val, evaluator)
    _check_picture(options, data.val)
    running = Running(options.device, options.engine or "auto", options.threads, _teller(options))
    net = asked(parts, options.weights, running)
    _begin(options, settings, net, len(data.val))
    begin = time.monotonic()
    with counting("images", len(data.val), options.quiet or options.json) as count:
        scores = pass_over(
            ByProtocol(net.inference, parts.ask),
            validation_batches(data.val, settings),
            AlsoSeen(evaluator, files.add) if hasattr(files, "add") else evaluator,
            options=settings.evaluate,
            progress=lambda done: count(done) or True,
        )
    assert scores is not None
    seconds = time.monotonic() - begin
    own_metric = {"metric": scores["metric"]} if "metric" in scores else {}
    return {
        **_about(options, settings, net),
        **_scores(settings, evaluator, scores, data.class_names),
        **own_metric,
        "images": len(data.val),
        "seconds": round(seconds, 2),
        "ids": str(options.save_ids) if options.save_ids else None,
        "segments": str(files.close()) if options.save else None,
        "picture": _picture(options, evaluator, data.class_names),
    }


def _files(options: argparse.Namespace, settings: Any, dataset: Any, evaluator: Any) -> Any:
    """Return what writes predictions, None where that is not asked for.

    Raises UserError for an option of another task than the net's.
    """
    from commands.evaluate.ids import IdFiles
    from common.settings.data import INSTANCES
    from common.settings.run import SEMANTIC
    from common.settings.volumes import VOLUMETRIC

    task = settings.model.task
    if task == VOLUMETRIC:
        written = {"--save-ids": options.save_ids, "--save": options.save}
        written["--confusion"] = options.confusion
        if wrong := [name for name, value in written.items() if value]:
            raise UserError(
                f"{wrong[0]}: {settings.model.name} is a net of volumes; tools/predict.py writes "
                "what it predicts"
            )
        return None
    given = {"--save-ids": options.save_ids, "--confusion": options.confusion}
    foreign = given if task != SEMANTIC else {"--save": options.save}
    if wrong := [name for name, value in foreign.items() if value]:
        instead = INSTEAD.get(task, "--save-ids writes its classes")
        raise UserError(
            f"{wrong[0]}: {settings.model.name} is a net of {settings.model.task} segmentation; "
            f"{instead}"
        )
    if options.save and task == INSTANCES:
        from commands.evaluate.instances import SavedObjects

        return SavedObjects(options.save, dataset, evaluator, options.force)
    if options.save:
        from commands.evaluate.panoptic import SavedSegments

        return SavedSegments(options.save, dataset, settings, options.force)
    return options.save_ids and IdFiles(options.save_ids, dataset, options.force)


def _scores(
    settings: Any, evaluator: Any, scores: Any, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the scores of the net's task as plain values."""
    if "pq" in scores or "ap" in scores:
        return {name: with_null(value) for name, value in scores.items()}
    if "volume_iou" in scores:
        from commands.evaluate.volumes import scores_of_volumes

        return scores_of_volumes(scores)
    return scores_of(counts_of(evaluator), class_names, settings.evaluate.absent)


def _teller(options: argparse.Namespace) -> Callable[[str], None]:
    """Return who says on stderr what takes seconds, and what is not as one might think."""
    console = screen(stderr=True)
    return (lambda words: None) if options.quiet else lambda words: console.print(said(words))


def _about(options: argparse.Namespace, settings: Any, net: Any) -> dict[str, Any]:
    return {
        "config": str(options.config),
        "name": settings.name,
        "weights": str(options.weights),
        "runs": net.runs,
        "protocol": settings.evaluate.model_dump(mode="json"),
        "split": settings.data.val_split,
        "conversion": net.loaded.totals,
        "left_at_initialisation": list(net.loaded.left),
    }


def _check_picture(options: argparse.Namespace, dataset: Any) -> None:
    """Raise UserError where the picture would be written over what is read, or unasked."""
    from commands.evaluate.ids import files_of
    from common.files import check_outputs

    if options.confusion is not None:
        read = [options.config, Path(options.weights), *files_of(dataset)]
        check_outputs([options.confusion], read, options.force)


def _picture(
    options: argparse.Namespace, evaluator: Any, class_names: tuple[str, ...]
) -> str | None:
    if options.confusion is None:
        return None
    from common.evaluation.confusion_picture import confusion_picture

    confusion_picture(counts_of(evaluator).counts, class_names, options.confusion)
    return str(options.confusion)


def _begin(options: argparse.Namespace, settings: Any, net: Any, images: int) -> None:
    """Say what is evaluated and how, before it takes its time."""
    if options.quiet or options.json:
        return
    rows = [
        ("config", f"{options.config} ({settings.model.name})"),
        ("weights", net.loaded.told or str(options.weights)),
        ("data", f"{settings.data.dataset} {settings.data.val_split}, {images}"),
        ("protocol", protocol_in_words(settings.evaluate)),
    ]
    for line in labelled([(phrase(label), text) for label, text in rows], LABEL):
        say(line)


def protocol_in_words(evaluate: Any) -> str:
    """Return how an image is seen, in one line."""
    words = [phrase("scale {scales}", scales=", ".join(f"{s:g}" for s in evaluate.all_scales))]
    if evaluate.window_hw:
        height, width = evaluate.window_hw
        window = {"size": f"{width}x{height}", "stride": f"{evaluate.stride:.3g}"}
        words.append(phrase("windows of {size}, stride {stride}", **window))
    if evaluate.flip:
        words.append(phrase("and mirrored"))
    if evaluate.align_corners:
        words.append("align_corners")
    if evaluate.post.name != "argmax":
        words.append(evaluate.post.name)
    return ", ".join(words)


def _tell(options: argparse.Namespace, settings: Any, result: dict[str, Any]) -> int:
    """Print the result; return the exit code that it has."""
    code, words = _judged(options, result)
    if options.json:
        entry.print_json({**result, "exit_code": code, "verdict": words})
        return code
    console = screen()
    if not options.quiet:
        say(*labelled([(phrase("runs"), result["runs"])], LABEL))
        if "ap" in result:
            from commands.evaluate.instances import table_of as table_of_objects

            console.print(table_of_objects(result))
        elif "pq" in result:
            from commands.evaluate.panoptic import table_of as table_of_segments

            console.print(table_of_segments(result))
        elif result["pixels"]:
            console.print(table_of(result))
            console.print(_line(result))
        if isinstance(result.get("metric"), float):
            console.print(f"{phrase('metric')} {number(result['metric'])}")
        written = [result[name] for name in ("ids", "segments", "picture") if result[name]]
        if written:
            say(phrase("written: {paths}", paths=", ".join(written)))
    verdict(console, code, words)
    return code


def _line(result: dict[str, Any]) -> str:
    """Return the means of classes in one line."""
    if "volume_iou" not in result:
        return line_of(result)
    from commands.evaluate.volumes import line_of_volumes

    return line_of_volumes(result)


def _judged(options: argparse.Namespace, result: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and the last line."""
    if "pq" in result:
        return _judged_segments(options, result)
    if "ap" in result:
        return _judged_objects(options, result)
    count, mean = result["images"], result["mean_iou"]
    if not result["pixels"] and result["ids"]:
        folder = result["ids"]
        text = phrase("{count} files in {folder}; no label counts here", count=count, folder=folder)
        return entry.CHECKED_GOOD, text
    if not result["pixels"]:
        raise UserError(
            f"could not check: in {count} images of {result['split']} no pixel of the labels "
            "counts, so there is no score; give a split that has labels, or --save-ids for a server"
        )
    if mean is None:
        absent = [name for name, value in result["iou"].items() if value is None]
        text = phrase(
            "no mIoU: {classes} occur in neither labels nor predictions; evaluate.absent=skip "
            "leaves them out, as Cityscapes does",
            classes=", ".join(absent),
        )
        return entry.COULD_NOT_CHECK, text
    words = phrase("{count} images: mIoU {mean}", count=count, mean=f"{mean:.4f}")
    return enough(mean, options.at_least, words)


def _judged_segments(options: argparse.Namespace, result: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and the last line of a panoptic net."""
    count, pq = result["images"], result["pq"]
    if pq is None:
        raise UserError(
            f"could not check: in {count} images of {result['split']} no segment counts, in the "
            "truth or predicted, so there is no score"
        )
    words = phrase("{count} images: PQ {pq}", count=count, pq=f"{pq:.4f}")
    return enough(pq, options.at_least, words)


def _judged_objects(options: argparse.Namespace, result: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and the last line of a net of instances."""
    count, precision = result["images"], result["ap"]
    if precision is None:
        raise UserError(
            f"could not check: in {count} images of {result['split']} no object is annotated, so "
            "there is no score"
        )
    words = phrase("{count} images: mask AP {ap}", count=count, ap=f"{precision:.4f}")
    return enough(precision, options.at_least, words)
