"""The flow of `predict`: photos in, id maps and pictures out."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commands import entry
from commands.evaluate import options as protocol_options
from commands.parser import complain
from commands.predict import painting
from commands.predict.model import PhotoNet, of_config, of_export
from commands.predict.pipeline import Pipeline, Times
from commands.predict.sources import SUFFIXES, Item, Listed, list_items
from commands.predict.video import frames_of, open_video, writing
from common.data.photos import read_photo
from common.errors import UserError
from common.files import make_folder, whole_file
from common.locks import alone_inside
from common.streams import say
from common.terminal import counting, labelled, screen, verdict
from common.words.language import phrase, said
from common.words.texts import error_said

LABEL = 12  # columns
TOLD = 0.5  # seconds of an export that are told
CONFIGS = (".yml", ".yaml")
Tell = Callable[[str], None]


def parse(description: str, example: str) -> argparse.Namespace:
    """Read the command line, and set the number of threads before a framework is loaded."""
    command = entry.parser(description, example)
    command.add_argument(
        "given", nargs="+", metavar="CONFIG PHOTO", help="CONFIG (without --model), then photos, "
        "folders of photos, videos; key.sub=value replaces settings of the config"
    )  # fmt: skip
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", type=Path, metavar="FILE", help="weights of the config's net")
    source.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="an exported folder, instead of config and weights",
    )
    command.add_argument("--framework", choices=("paddle", "torch"), default="paddle")
    protocol_options.add_protocol(command)
    protocol_options.add_running(command)
    command.add_argument(
        "--output", type=Path, default=Path("predictions"), metavar="DIR", help="(predictions)"
    )
    command.add_argument(
        "--write",
        type=_kinds,
        default=tuple(SUFFIXES),
        metavar="KIND,..",
        help="ids (a palette PNG), overlay, sheet (photo, prediction, legend); default: all three",
    )
    command.add_argument(
        "--ids-at", choices=("photo", "net"), default="photo",
        help="size of the ids: the photo's, or that at which the net sees it, which is faster",
    )  # fmt: skip
    command.add_argument("--force", action="store_true", help="write over earlier results")
    command.add_argument("--quiet", action="store_true", help="the verdict alone, no progress")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    options = command.parse_intermixed_args()
    _sort_out(command, options)
    protocol_options.set_threads(options, options.framework)
    return options


def _sort_out(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Tell config, overrides and photos apart; end the program where one is missing."""
    given = list(options.given)
    options.config = None
    if options.weights is not None:
        options.config = Path(given.pop(0))
        if options.config.suffix not in CONFIGS:
            command.error(f"with --weights a config comes first, got {options.config}")
    options.overrides = [text for text in given if "=" in text and not Path(text).exists()]
    options.photos = [Path(text) for text in given if text not in options.overrides]
    if options.model is not None and options.overrides:
        command.error(f"--model has no config whose {options.overrides[0]} could be set")
    if options.model is not None and options.framework == "torch":
        command.error("--model is an exported net; --framework torch runs the reference")
    if options.framework == "torch" and options.engine not in (None, "eager"):
        command.error("--engine goes with Paddle's nets; --framework torch runs the reference")
    if not options.photos:
        command.error("no photo, folder or video was given")
    if options.ids_at == "net" and options.write != ("ids",):
        command.error("--ids-at net goes with --write ids: pictures have the photo's size")


def predict(options: argparse.Namespace) -> int:
    """Predict what the options name, and return the exit code."""
    with alone_inside(options.output):
        return _predict(options)


def _predict(options: argparse.Namespace) -> int:
    """Predict into a folder that nobody else writes in."""
    if options.config is not None and (settings := _volumetric(options)):
        return _predict_volumes(options, settings)
    listed = list_items(options.photos, options.output, options.write, options.force)
    console = screen(stderr=True)

    def tell(words: str) -> None:
        if not options.quiet:
            console.print(said(words))

    for path, why in listed.skipped:
        tell(phrase("skipped: {path} ({why})", path=path, why=why))
    if not listed.items:
        raise UserError(f"no photo in {', '.join(map(str, options.photos))}")
    with _errors(options):
        model = _model(options, tell)
        run = _Run(options, model, listed, tell)
        with counting("photos", len(listed.items), run.quiet) as count:
            run.go(count)
    return _tell(options, run)


def _volumetric(options: argparse.Namespace) -> Any:
    """Return the settings of a config whose net takes volumes, None of any other."""
    from commands.predict.volumes import of_volumes
    from commands.subjects.named.config import read_config

    given = [*options.overrides, *protocol_options.overrides(options)]
    settings = read_config(options.config, given)
    return settings if of_volumes(settings) else None


def _predict_volumes(options: argparse.Namespace, settings: Any) -> int:
    """Predict volumes, and return the exit code."""
    from commands.predict.volumes import VolumeRun

    def tell(words: str) -> None:
        if not options.quiet:
            screen(stderr=True).print(said(words))

    with _errors(options):
        run = VolumeRun(options, settings, tell)
        run.go()
    return _tell(options, run)


def _errors(options: argparse.Namespace) -> Any:
    """Return what names the line of a user's own net that raises."""
    if options.model is not None:
        return nullcontext()
    from commands.align.errors import errors_of_nets

    return errors_of_nets(str(options.config))


def _model(options: argparse.Namespace, tell: Tell) -> PhotoNet:
    given = protocol_options.overrides(options)
    if options.model is not None:
        return of_export(options, given)
    return of_config(options, [*options.overrides, *given], tell)


class _Run:
    """Predicts every item, and keeps what became of each."""

    def __init__(
        self, options: argparse.Namespace, model: PhotoNet, listed: Listed, tell: Tell
    ) -> None:
        self.options, self.model, self.listed, self.tell = options, model, listed, tell
        self.quiet = options.quiet or options.json
        self.at_net = options.ids_at == "net"
        self.rows: dict[Path, dict[str, Any]] = {}
        self.files: list[Path] = []  # beside those of every photo
        self.times = Times()

    def go(self, count: Callable[[int], None]) -> None:
        """Predict; `count` is told how many are done."""
        photos = [item for item in self.listed.items if not item.is_video]
        pipeline, done = Pipeline(self._read, self._ask, self._write, self.times), 0
        for item, error in pipeline.run(photos):
            self._note(item, error)
            count(done := done + 1)
        for item in self.listed.items:
            if item.is_video:
                try:
                    self._video(item)
                    self._note(item, None)
                except UserError as error:
                    self._note(item, error)
                count(done := done + 1)
        self.files = self.model.painter.finish(self.options.output)
        self.times.parts["net"] -= self.model.opening
        self.times.parts["export"] = self.model.opening

    @property
    def failed(self) -> list[dict[str, Any]]:
        """What could not be predicted."""
        return [row for row in self.rows.values() if "error" in row]

    def _note(self, item: Item, error: UserError | None) -> None:
        row = self.rows.setdefault(item.path, {"path": str(item.path)})
        if error is None:
            row["outputs"] = {kind: str(path) for kind, path in item.outputs.items()}
            return
        row["error"] = str(error) if str(item.path) in str(error) else f"{item.path}: {error}"
        complain(phrase("failed: {error}", error=error_said(row["error"])))

    def _read(self, item: Item) -> Image.Image:
        return read_photo(item.path)

    def _ask(self, item: Item, photo: Image.Image) -> np.ndarray:
        return self.model.prediction(photo, self.at_net)

    def _write(self, item: Item, photo: Image.Image, found: np.ndarray) -> None:
        painter, pixels = self.model.painter, np.asarray(photo)
        shares = painter.shares(found)
        self.rows[item.path] = {
            "path": str(item.path),
            "size": [photo.width, photo.height],
            "classes": {name: round(share, 6) for name, share in shares.items()},
        }
        for kind, path in item.outputs.items():
            picture = painter.picture(kind, pixels, found)
            make_folder(path.parent)
            with whole_file(path) as draft:
                painting.save(picture, draft, path.suffix)
        painter.note(item.path, item.outputs, found)

    def _video(self, item: Item) -> None:
        """Write a video of the overlay, and one of the classes' colours, frame by frame."""
        video, model = open_video(item.path), self.model

        def ask(frame: np.ndarray, photo: Image.Image) -> np.ndarray:
            return model.prediction(photo)

        def write(frame: np.ndarray, photo: Image.Image, found: np.ndarray) -> None:
            for kind, put in writers.items():
                put(model.painter.frame(kind, frame, found))

        with ExitStack() as files:
            writers = {k: files.enter_context(writing(p, video)) for k, p in item.outputs.items()}
            done = 0
            with counting("frames", video.frames, self.quiet) as count:
                frames = Pipeline(Image.fromarray, ask, write, self.times).run(frames_of(video))
                for _, error in frames:
                    if error is not None:
                        raise error
                    count(done := done + 1)
        size = [video.width, video.height]
        self.rows[item.path] = {"path": str(item.path), "size": size, "frames": done}


def _tell(options: argparse.Namespace, run: Any) -> int:
    """Print what came out; return the exit code."""
    good, failed = len(run.rows) - len(run.failed), len(run.failed)
    code = entry.COULD_NOT_CHECK if not good else entry.CHECKED_BAD if failed else 0
    words = phrase("{count} predicted in {folder}", count=good, folder=options.output)
    if failed:
        words = phrase("{words}, {count} failed", words=words, count=failed)
    times = run.times
    if options.json:
        entry.print_json(
            {
                "runs": str(run.model.inference),
                "weights": run.model.told,
                "output": str(options.output),
                "items": list(run.rows.values()),
                "files": [str(path) for path in run.files],
                "skipped": [{"path": str(path), "why": why} for path, why in run.listed.skipped],
                "seconds": {"whole": round(times.whole, 3)}
                | {name: round(seconds, 3) for name, seconds in times.parts.items()},
                "exit_code": code,
                "verdict": words,
            }
        )
        return code
    if not options.quiet:
        rows = [(phrase("weights"), run.model.told), (phrase("runs"), str(run.model.inference))]
        rows = [row for row in rows if row[1]]  # nothing runs where no photo can be read
        rows.append((phrase("seconds"), _times(times)))
        say("\n".join(labelled(rows, LABEL)))
    verdict(screen(), code, words)
    return code


def _times(times: Times) -> str:
    """Say how long it took, and what of it each part did beside the others."""
    parts = {name: f"{seconds:.1f}" for name, seconds in times.parts.items()}
    words = phrase(
        "{whole} (the net {net}; beside it reading {read}, writing {write})",
        whole=f"{times.whole:.1f}",
        **parts,
    )
    if times.parts["export"] < TOLD:
        return words
    return phrase("{words}; of them {export} for the export, once", words=words, **parts)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.split(",")))
    if unknown := [kind for kind in kinds if kind not in SUFFIXES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {','.join(SUFFIXES)}")
    return kinds
