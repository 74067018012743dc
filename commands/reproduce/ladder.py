"""The whole ladder on one config: checkpoint, conversion, every rung, training, pictures."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from align import Report
from align.judge.words import Words, first_of
from align.pairing.fill import load_state
from align.report.report import ALIGNED, COULD_NOT_CHECK
from align.report.run import Run, Rung, without_values
from align.report.write import write_numbers, write_run
from commands.align.errors import errors_of_nets
from commands.align.rungs import LADDER
from commands.convert_show import moved
from commands.entry import verdict_stands
from commands.reproduce.pictures import loss_curve
from commands.reproduce.training import (
    Trained,
    TrainingEnded,
    common_start,
    compare_scores,
    run_training,
    starting_weights,
)
from commands.subjects.recipe import Recipe
from commands.subjects.validation import sizes_taken
from common.documents import write_text
from common.errors import UserError
from common.settings.data import OwnData, PhotosData
from common.settings.load import load_settings
from common.settings.own import OWN, OwnModel

# Rungs that train, and in what.
VOLUMES = "volumes"
TRAININGS = {"train": "paddle", "train, reference": "torch"}
# How the toy set lies on disk that stands for a data set.
TOYS = {
    "cityscapes": "cityscapes",
    "cityscapes_panoptic": "cityscapes",
    "coco_panoptic": "coco_panoptic",
    "coco_instances": "coco_instances",
    VOLUMES: VOLUMES,
}
# What --fast changes: every rung is climbed, on less.
FAST = (
    "train.iterations=4",
    "train.log_interval=1",
    "train.eval_interval=4",
    "train.checkpoint_interval=0",
    "reproduce.training_steps=2",
    "reproduce.toy_train=8",
    "reproduce.toy_val=2",
    "reproduce.toy_size_hw=[128, 256]",
)
FAST_VOLUMES = ("evaluate.post.halo_shape=[2, 4, 4]", "reproduce.toy_shape=[16, 24, 24]")


@dataclass
class Reproduction:
    """One run of the ladder. `climbing` is around each rung, and gets its name."""

    config: Path
    folder: Path
    fast: bool = False
    overrides: tuple[str, ...] = ()
    checkpoint: Path | None = None
    climbing: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext()
    found: Run = field(default_factory=lambda: Run("reproduce"))
    state: dict[str, Any] = field(default_factory=dict)  # converted, in Paddle's names
    nets: tuple[Any, Any] = (None, None)
    starts: dict[str, list[str]] | None = None  # settings of both trainings, by framework

    @property
    def exit_code(self) -> int:
        """1 if any rung found a difference, 2 if any could not check, else 0."""
        return self.found.exit_code

    @property
    def both(self) -> bool:
        """Whether the reference is trained too."""
        return self.settings.reproduce.train_both

    @property
    def rungs(self) -> list[Rung]:
        """The rungs that were climbed."""
        return self.found.rungs

    def run(self) -> None:
        """Climb all rungs; a rung that differs does not stop the next. Writes the reports."""
        self.recipe = Recipe(self.config, tuple(self._overrides()), self.fast)
        self.settings = self.recipe.settings
        self._require_toy_data()
        self.found.title = Words("title_reproduce", name=self.settings.name)
        start = time.monotonic()
        self.folder.mkdir(parents=True)
        torch_net, paddle_net = self._nets()
        if torch_net is not None and self._has_own_images:
            self._did("validation", self._validation)
        self._align(torch_net, paddle_net)
        with self._rung("evidence") as done:
            done(*self._write_evidence(torch_net, paddle_net))
        self._train_all()
        summary = {
            "config": str(self.config),
            "exit_code": self.exit_code,
            "shortened": self.shortened,
            "rungs": [vars(rung) for rung in self.rungs],
        }
        self.found.environment["seconds"] = round(time.monotonic() - start, 1)
        with verdict_stands(self.folder / "report", "reproduce"):
            write_text(self.folder / "summary.json", json.dumps(summary, indent=1))
            write_run(self.found, self.folder / "report", "reproduce")

    def _nets(self) -> tuple[Any, Any]:
        """Return both nets with the converted weights; (None, None) where a rung says why not."""
        if self._did("checkpoint", self._reference_checkpoint):
            self._did("convert", self._convert)
        return self.nets

    def _did(self, name: str, do: Callable[[], str]) -> bool:
        """Climb a rung that makes something; return whether it could."""
        with self._rung(name) as done:
            try:
                with errors_of_nets(self.settings.model.name):
                    result = do()
            except UserError as error:
                done(error.exit_code, str(error))
                return False
            done(ALIGNED, result)
        return True

    @property
    def _has_own_images(self) -> bool:
        """Whether nobody knows yet that the nets take the validation images."""
        settings = self.settings
        own_data = isinstance(settings.data, OwnData | PhotosData)
        return own_data or isinstance(settings.model, OwnModel)

    def _validation(self) -> Words:
        """Run both nets on validation images; else only the end of a training would."""
        sizes = sizes_taken(self.recipe.whole_parts)
        return Words("sizes_taken", sizes=", ".join(f"{h} x {w}" for h, w in sizes))

    @property
    def shortened(self) -> list[str]:
        """What --fast sets that neither the command line nor the config says."""
        given = {override.partition("=")[0] for override in self.overrides}
        small = self._fast() if self.fast else []
        return [one for one in small if one.partition("=")[0] not in given]

    def _require_toy_data(self) -> None:
        """Raise UserError where --fast would need toy data of another kind than it can make."""
        kind, root = self.settings.data.dataset, Path(str(self.settings.data.root))
        if not self.fast or kind in (*TOYS, OWN) or root.exists():
            return
        toy = self.config.with_name(f"{self.config.stem}_toy.yml")
        other = f"run it on {toy}" if toy.is_file() else "give a config on Cityscapes"
        raise UserError(
            f"{self.config}: reads data of {kind}, and --fast makes toy data of Cityscapes, COCO "
            f"and volumes alone; {other}, or leave out --fast"
        )

    def _overrides(self) -> list[str]:
        return [*self.shortened, *self.overrides]

    def _fast(self) -> list[str]:
        """Return the settings of --fast; data and input shapes of the user's own stay theirs."""
        settings = load_settings(self.config, self.overrides)
        shape = settings.reproduce.fast_shape
        smaller = list(FAST)
        if layout := TOYS.get(settings.data.dataset):
            smaller.append(f"data.root={self.folder / f'toy_{layout}'}")
        if not isinstance(settings.model, OwnModel):
            smaller.append(f"data.batch_size={shape[0]}")
            for key, size in settings.data.cut_to(shape).items():
                smaller.append(f"data.{key}={'null' if size is None else list(size)}")
            smaller.append(f"reproduce.input_shape={list(shape)}")
        if settings.data.dataset == VOLUMES:
            smaller += FAST_VOLUMES
        if settings.schedule.name == "warmup_poly":
            smaller.append("schedule.warmup_steps=2")
        if getattr(settings.schedule, "warmup", None):
            smaller.append("schedule.warmup.steps=2")
        return smaller

    @contextmanager
    def _rung(self, name: str) -> Iterator[Callable[[int, str], None]]:
        start = time.monotonic()

        def done(exit_code: int, result: str) -> None:
            seconds = round(time.monotonic() - start, 1)
            self.rungs.append(Rung(name, exit_code, result, seconds))

        with self.climbing(name):
            yield done

    def _report(self, name: str, run: Callable[[], Report]) -> None:
        with self._rung(name) as done:
            try:
                with errors_of_nets(self.settings.model.name):
                    report = run()
            except UserError as error:
                done(COULD_NOT_CHECK, str(error))
                return
            report.settings["config"] = str(self.config)
            stem = name.replace(", ", "_")
            with verdict_stands(self.folder / "report", stem):
                write_numbers(report, self.folder / "report", stem)
            done(report.exit_code, report.verdict)
        self.found.reports.append(report)
        self.found.names.append(name)

    def _reference_checkpoint(self) -> str:
        """Find the user's checkpoint, or write one in the authors' format from seeded weights."""
        path = self.folder / "reference.pth"
        self.checkpoint = self.checkpoint or self.recipe.pair.checkpoint(path, self.settings.seed)
        return str(self.checkpoint)

    def _convert(self) -> str:
        """Convert the checkpoint; both nets have its weights then."""
        assert self.checkpoint is not None
        output = self.folder / "model.pdparams"
        conversion = self.recipe.pair.convert(self.checkpoint, output)
        self.found.account = without_values(conversion.account.to_dict())
        self.state = conversion.state
        self.nets = self.recipe.pair.with_converted(self.checkpoint, self.state)
        return Words("moved_to", moved=moved(conversion.account.totals), path=output)

    def _align(self, torch_net: Any, paddle_net: Any) -> None:
        """Climb the rungs of alignment; the first that needs data makes a toy set where asked."""
        recipe, data_are_there = self.recipe, False
        for row in LADDER:
            if row.of_recipe is None or (self.fast and not row.when_fast):
                continue
            if row.counts_classes and not recipe.counts_classes:
                continue
            if row.exports and not recipe.is_exported:
                continue
            needs_data = row.needs_data or (row.may_need_objects and recipe.takes_objects)
            if needs_data and not data_are_there:
                self._make_data()
                data_are_there = True
            if row.needs_nets and torch_net is None:
                with self._rung(row.name) as done:
                    done(COULD_NOT_CHECK, Words("needs_nets"))
                continue
            climb = partial(row.of_recipe, recipe, torch_net, paddle_net)
            self._report(row.name, climb)

    def _make_data(self) -> None:
        """Write a toy set where the config's data are absent and its root is called toy."""
        root = Path(str(self.settings.data.root))
        layout = TOYS.get(self.settings.data.dataset)
        if layout is None or "toy" not in root.name or root.exists():
            return
        with self._rung("toy data") as done:
            marker = write_toy(root, layout, self.settings.reproduce)
            done(ALIGNED, Words("toy_data", train=marker["train"], val=marker["val"], folder=root))

    def _write_evidence(self, torch_net: Any, paddle_net: Any) -> tuple[int, str]:
        """Write the guide's pairs of files; what they say is shown and not judged."""
        from commands.reproduce.evidence import write_evidence

        folder = self.folder / "evidence"
        reports = dict(zip(self.found.names, self.found.reports, strict=True))
        if lacking := [name for name in ("loss", "training") if name not in reports]:
            return COULD_NOT_CHECK, Words("no_evidence_of", rungs=", ".join(lacking))
        try:
            distances = write_evidence(self.recipe, torch_net, paddle_net, reports, folder)
        except UserError as error:
            return COULD_NOT_CHECK, str(error)
        return said_of(distances, reports, folder)

    def _train_all(self) -> None:
        """Train in Paddle, and where both are asked for in torch; compare what they scored."""
        trained: dict[str, Trained] = {}
        for name, framework in TRAININGS.items():
            if framework == "torch" and not self.both:
                continue
            with self._rung(name) as done:
                done(*self._train(framework, trained))
        if not trained:
            return
        theirs, ours = trained.get("torch"), trained.get("paddle")
        if ours:
            loss_curve(ours.log, self.folder / "loss.png", theirs.log if theirs else ())
        if self.both:
            with self._rung("train_align") as done:
                done(*self._compare(theirs, ours))

    def _train(self, framework: str, trained: dict[str, Trained]) -> tuple[int, Any]:
        """Train as long as the config says; what comes of it goes into `trained`."""
        name = {"torch": "train_torch", "paddle": "train"}[framework]
        try:
            start = self._start(framework)
            overrides = [*self._overrides(), *start]
            made = run_training(framework, self.config, overrides, self.folder / name)
        except TrainingEnded as ended:
            return COULD_NOT_CHECK, ended.args[0]
        except UserError as error:
            return COULD_NOT_CHECK, str(error)
        trained[framework] = made
        if framework == "paddle":
            self._draw(made)
        best, ap = made.result["best_mean_iou"], made.result["best_ap"]
        if best is None and ap is None:
            return COULD_NOT_CHECK, Words("not_validated")
        if ap is not None:
            at = made.result["best_iteration"]
            return ALIGNED, Words("trained_to_ap", ap=ap, iterations=at, folder=made.folder)
        reached = {"value": best, "iterations": made.result["best_iteration"]}
        if (pq := made.result["best_pq"]) is not None:
            return ALIGNED, Words("trained_to_pq", pq=pq, **reached, folder=made.folder)
        return ALIGNED, Words("trained_to", **reached, folder=made.folder)

    def _start(self, framework: str) -> list[str]:
        """Return the settings that say where a training starts; one place, where both train."""
        if not self.both:
            return starting_weights(self.recipe, self.state, self.folder)
        if self.starts is None:
            self.starts = common_start(self.recipe, self.nets[0], self.folder)
        return self.starts[framework]

    def _compare(self, theirs: Trained | None, ours: Trained | None) -> tuple[int, Any]:
        """Write the guide's pair of files of two trainings, and judge it as the guide does."""
        if theirs is None or ours is None:
            return COULD_NOT_CHECK, Words("needs_trainings")
        threshold, folder = self.settings.reproduce.train_threshold, self.folder / "evidence"
        try:
            return compare_scores(theirs, ours, threshold, folder)
        except UserError as error:
            return COULD_NOT_CHECK, str(error)

    def _draw(self, made: Trained) -> None:
        """Draw what the port predicts; its log is in the report."""
        from commands.reproduce.pictures import PAINTERS
        from convert import read_checkpoint

        self.found.training = {"framework": "Paddle", "log": made.log}
        port = self.recipe.whole_parts[1]
        net, data = port.net(), port.data()
        load_state(net, dict(read_checkpoint(made.result["weights"])))
        samples = [data.val.sample(0, index) for index in range(min(4, len(data.val)))]
        alike = [pair for pair in samples if pair[0].shape == samples[0][0].shape]
        batch = data.val.batch_of(alike)
        guesses = port.predict(net, batch.image)
        shown = data.val.normalisation.to_rgb(batch.image)
        draw = PAINTERS[self.settings.model.task]
        draw(shown, batch.target, guesses, self.folder / "predictions.png", self.settings, data)


def write_toy(root: Path, layout: str, size: Any) -> dict[str, Any]:
    """Write a toy set of a layout, as the section `reproduce` of a config says; return its marker.

    Raises UserError where it cannot be written.
    """
    count = {"train": size.toy_train, "val": size.toy_val}
    if layout == VOLUMES:
        from common.data.toy.volumes import write_toy_volumes

        return write_toy_volumes(root, shape=size.toy_shape, **count)
    from common.data.toy import write_toy_cityscapes

    return write_toy_cityscapes(root, layout=layout, size_hw=size.toy_size_hw, **count)


def new_folder(settings_name: str) -> Path:
    """Return a folder in runs/ that does not exist yet, named by config and time."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path("runs") / f"{settings_name}_{stamp}"
    if folder.exists():
        raise UserError(f"{folder} exists already; wait a second, or give --output")
    return folder


def said_of(
    distances: Mapping[str, float], reports: Mapping[str, Report], folder: Path
) -> tuple[int, str]:
    """Return (exit code, words) of evidence: how far its values are apart, by checkpoint/name."""
    from commands.align.reprod_log import THRESHOLD

    if not all(math.isfinite(distance) for distance in distances.values()):
        return COULD_NOT_CHECK, Words("distance_not_finite", folder=folder)
    worst = max(distances, key=lambda name: distances[name])
    said = Words("evidence", error=distances[worst], name=worst, folder=folder)
    beyond = [name for name, distance in distances.items() if distance > THRESHOLD]
    if beyond:
        names = first_of(beyond, 3)
        said = Words("evidence_beyond", said=said, names=names, threshold=THRESHOLD)
        forward = reports.get("forward, eval")
        if forward and forward.exit_code == ALIGNED and beyond[0].startswith("forward/"):
            said = Words("evidence_of_resizes", said=said)
    return ALIGNED, said
