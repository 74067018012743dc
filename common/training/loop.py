"""The training loop of both frameworks.

An iteration, in the authors' order (MichaelFan01/STDC-Seg, train.py): the rate of step i, counted
from 0, is set; one update is made; after it i + 1 updates are done, and that number stands in logs
and names checkpoints.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.data import Batch
from common.errors import UserError
from common.evaluation.evaluate import evaluate
from common.evaluation.evaluator import Evaluator, build_evaluator
from common.evaluation.gallery import Gallery
from common.evaluation.side import Side
from common.evaluation.tasks import paint_of
from common.files import remove_folder, sweep, whole_file
from common.locks import only_run_in
from common.processes.batches import batches_of_all
from common.processes.stop import StopRequest
from common.processes.validation import evaluate_together
from common.randomness import generator
from common.settings.run import Settings
from common.settings.schedules import Plateau
from common.training.clock import Clock
from common.training.faults.broken_images import BrokenImages
from common.training.faults.not_finite import NotFinite, require_finite
from common.training.faults.saved_step import SavedStep, told_images, write_step
from common.training.feed import (
    DataSets,
    Seeded,
    own_share,
    step_images,
    training_batches,
    validation_batches,
)
from common.training.logs import RunLog, read_log
from common.training.notes import differences, settings_block
from common.training.reporter import Reporter
from common.training.resume import (
    Best,
    CheckpointError,
    Position,
    ResumePoint,
    find_checkpoint,
    list_checkpoints,
    require_same_run,
    require_same_state,
    write_checkpoint,
)
from common.words.typed import command

Rate = Callable[[int, int], float]  # (update from 0, reductions of a plateau so far) -> rate


class Diverged(UserError):
    """The loss is not finite any more: the run was carried out, and failed."""

    exit_code = 1


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `stopped_by` is the number of the signal that ended it early; `stopped_early` says that
    validations that got no better did.
    """

    folder: Path
    iteration: int
    stopped_by: int | None
    checkpoint: Path
    best: Best | None
    weights: Path | None  # of the best validation, else of the last iteration
    stopped_early: bool = False


def train(
    settings: Settings,
    side: Side,
    data: DataSets,
    *,
    initialise: Callable[[], Mapping[str, Any] | None] | None = None,
    resume: str | None = None,
    reporter: Reporter | None = None,
    rate: Rate | None = None,
    evaluator: Evaluator | None = None,
) -> Outcome:
    """Train to the end, or until a signal asks to stop.

    Args:
        settings: of the run.
        side: the framework's part.
        data: of `open_data`.
        initialise: fills the net with the weights to start from; not called where a checkpoint
            does that. What it returns goes into `weights.account.json`; its "told" is reported.
        resume: "auto" (the newest sound checkpoint, else the beginning), a checkpoint's path, or
            None: from the beginning, in a folder that holds no run.
        reporter: whoever watches.
        rate: of a schedule that is not of our tables; `settings.learning_rate` is that of ours.
        evaluator: with scores that are not of our tables; by default that of the net's task.

    Raises:
        Diverged: the loss is NaN or infinite.
        UserError: nothing can be resumed, a batch cannot be read, or a file not written.
    """
    scores = evaluator or build_evaluator(settings, data.class_names, data.ignore_index)
    run = _Run(settings, side, data, reporter or Reporter(), rate or settings.learning_rate, scores)
    with StopRequest(side.group) as stop:
        try:
            run.begin(resume, initialise, stop)
            return run.go(stop)
        finally:
            run.close()


def run_folder(settings: Settings, framework: str) -> Path:
    """Where a run in "torch" or "paddle" writes."""
    return Path(settings.folder(framework))


def step_seed(seed: int, step: int, number: int = 0) -> int:
    """Seed of the framework's generator in micro-batch `number` of update `step`: no state to keep.

    It is the same whichever process computes that.
    """
    names = ("step", step) if number == 0 else ("step", step, number)
    return int(generator(seed, *names).random() * 2**53)


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        settings: Settings,
        side: Side,
        data: DataSets,
        reporter: Reporter,
        rate: Rate,
        evaluator: Evaluator,
    ) -> None:
        self.settings, self.side, self.data, self.reporter = settings, side, data, reporter
        self.rate, self.evaluator, self.group = rate, evaluator, side.group
        self.share = own_share(settings, side.group)
        self.folder = run_folder(settings, side.framework)
        self.checkpoints = self.folder / "checkpoints"
        self.position = Position()
        self.saved: tuple[int, int] | None = None  # (iteration, validated) of the last checkpoint
        self.batches: Iterator[list[Batch]] = iter(())
        self.log: RunLog | None = None
        self.held = ExitStack()
        log, shown = settings.log, (data.val.normalisation, paint_of(settings, data.colors))
        self.gallery = Gallery(side, log.images * (log.tensorboard or log.visualdl), *shown)
        self.clock = Clock()
        self.broken = BrokenImages(data.train, self.folder, self.reporter)
        self.identity: dict[str, Any] = {
            "framework": side.framework,
            "settings": settings.model_dump(mode="json"),
            "data": data.fingerprint,
        }

    def begin(
        self,
        resume: str | None,
        initialise: Callable[[], Mapping[str, Any] | None] | None,
        stop: StopRequest,
    ) -> None:
        """Find the place to start at and read the first batch; only then touch the disk.

        Of several processes the first one reads checkpoint or weights, the others get its own.
        """
        found: ResumePoint | None = None
        account: Mapping[str, Any] | None = None

        def fill() -> tuple[dict[str, Any], tuple[int, int] | None]:
            nonlocal found, account
            found = self._find(resume)
            if found:
                require_same_run(found, **self.identity)
                self._take(found)
                self.position = found.position
                if found.path.parent.resolve() == self.checkpoints.resolve():
                    self.saved = (self.position.iteration, self.position.validated)
            elif initialise:
                account = initialise()
            return asdict(self.position), self.saved

        position, saved = self.group.on_first(fill)
        self.position, self.saved = Position.of(position), saved and (saved[0], saved[1])
        if self.group.several:
            self.side.load_state(self.group.of_first(self.side.state()))
        start = self.position.iteration
        with stop.together():
            batches = training_batches(self.data.train, self.settings, start, self.group)
            self.batches = _chain(next(batches), batches)
        self.group.on_first(lambda: self._hold(new=resume is None))

        frames = (len(self.data.train), len(self.data.val))
        block = settings_block(self.settings, self.side, frames, str(self.folder))
        notes = differences(self.settings, self.group.size)
        self.reporter.start(block, notes, self.settings.train.iterations)
        if resume is not None:
            place = f"resuming {found.path}" if found else "nothing to resume yet"
            self.reporter.message(f"{place}: from iteration {start}")
        if self.group.is_first:
            self._open_files(found, account)

    def _take(self, found: ResumePoint) -> None:
        """Put back the arrays of a checkpoint, which can be anybody's; CheckpointError."""
        last = self.settings.train.iterations
        if found.position.iteration > last:
            raise CheckpointError(
                f"{found.path}: stands at iteration {found.position.iteration} of a run of {last}; "
                "resume another one"
            )
        try:
            self.side.load_state(found.arrays)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{found.path}: its arrays are not those of this run: {type(error).__name__}: "
                f"{error}; resume another one"
            ) from None

    def _hold(self, new: bool) -> None:
        """Keep other runs out of the folder from here on; one may have begun since it was read."""
        self.held.enter_context(only_run_in(self.folder))
        if new:
            self._require_new()

    def _open_files(self, found: ResumePoint | None, account: Mapping[str, Any] | None) -> None:
        """Begin the logs, and take away what an interrupted run wrote after its checkpoint."""
        start = self.position.iteration
        self.log = RunLog(self.folder, start, self.position.validated, self.settings.log)
        for note in self.log.notes:
            self.reporter.message(note)
        with whole_file(self.folder / "settings.json") as draft:
            draft.write_text(json.dumps(self.identity["settings"], indent=1) + "\n")
        if account:
            self.reporter.message(account["told"])
            with whole_file(self.folder / "weights.account.json") as draft:
                draft.write_text(json.dumps(account, indent=1) + "\n")
        if found and self.saved:
            for path in list_checkpoints(self.checkpoints):
                if path.name > found.path.name:
                    self.reporter.message(f"removing {path}, which is later than that")
                    remove_folder(path)

    def go(self, stop: StopRequest) -> Outcome:
        """Alternate updates, validations and checkpoints."""
        train = self.settings.train
        while True:
            if self._due(train.eval_interval) and self.position.iteration > 0:
                self._validate(stop)
            early = self._ends_early()
            ended = early or stop.signal is not None or self.position.iteration >= train.iterations
            if ended or (self._due(train.checkpoint_interval) and self.position.iteration > 0):
                self._save()
            if ended:
                self.broken.sum_up()
                return self._outcome(stop.signal)
            self._step(stop)

    def _ends_early(self) -> bool:
        """Tell whether the validations say that the run ends here, before its last iteration."""
        position, options = self.position, self.settings.train.early_stop
        return position.early.over(options) and position.iteration < self.settings.train.iterations

    def close(self) -> None:
        """Stop the readers, finish the files."""
        self.batches = iter(())
        if self.log:
            self.log.close()
        self.held.close()
        self.reporter.close()

    def _find(self, resume: str | None) -> ResumePoint | None:
        if resume is None:
            self._require_new()
            return None
        if self.folder.is_dir():
            with only_run_in(self.folder):  # drafts of one that is running are its own
                swept = [*sweep(self.folder), *sweep(self.checkpoints)]
            if swept:
                paths = ", ".join(map(str, swept))
                self.reporter.message(f"removed, drafts of a run that was killed: {paths}")
        return find_checkpoint(self.checkpoints, resume, self.reporter.message)

    def _require_new(self) -> None:
        if list_checkpoints(self.checkpoints) or read_log(self.folder / "log.jsonl"):
            raise UserError(
                f"{self.folder} holds a run already; continue it with --resume auto, give another "
                "output=FOLDER, or remove it"
            )

    def _due(self, interval: int) -> bool:
        iteration = self.position.iteration
        last = iteration == self.settings.train.iterations
        return interval > 0 and (iteration % interval == 0 or last)

    def _step(self, stop: StopRequest) -> None:
        """One update, and what is said about it."""
        position = self.position
        begin = time.perf_counter()
        with stop.together():
            batches = next(self.batches)
        data_s = time.perf_counter() - begin
        lr = self.rate(position.iteration, position.plateau.reductions)
        if self.group.is_first:
            self.broken.look()
        seeds = [step_seed(self.settings.seed, position.iteration, n) for n in self.share]
        try:
            losses = self.side.step(Seeded(batches, self.side.seed, seeds), lr)
            require_finite(losses, lambda: True)
        except NotFinite as found:
            raise self._diverged(found, batches, lr) from None
        self.clock.add(data_s, time.perf_counter() - begin)
        for name, value in losses.items():
            position.sums[name] = position.sums.get(name, 0.0) + value
        position.counted += 1
        position.iteration += 1
        left = self.clock.left(self.settings.train.iterations - position.iteration)
        speed = self.clock.speed(self.settings.total_batch)
        row = {"iteration": position.iteration, "lr": lr, **losses}
        self.reporter.step({**row, **speed, "left_s": left})
        if self._due(self.settings.train.log_interval):
            self._log(lr, speed, left)

    def _log(self, lr: float, speed: dict[str, float], left: float) -> None:
        position = self.position
        means = {name: total / position.counted for name, total in position.sums.items()}
        row = {"iteration": position.iteration, "lr": lr, **means}
        if self.log:
            self.log.losses(row, speed)
        self.reporter.log({**row, **speed, "left_s": left})
        position.sums, position.counted = {}, 0
        self.clock.restart()

    def _validate(self, stop: StopRequest) -> None:
        """Evaluate on the validation set; keep the weights if they are the best so far."""
        position, schedule = self.position, self.settings.schedule
        if position.validated == position.iteration:
            return
        scores = self._scores(stop)
        if scores is None:
            return  # stopped; whoever resumes makes up for it
        position.validated = position.iteration
        if isinstance(schedule, Plateau):
            position.plateau.see(scores[schedule.follows], **schedule.reduction)
        if early_stop := self.settings.train.early_stop:
            position.early.see(scores, early_stop)
        metric = scores.get("metric")
        own = metric if isinstance(metric, float) else None
        of_task = {name: scores.get(name) for name in ("pq", "ap")}
        now = Best(scores.get("mean_iou"), position.iteration, own, **of_task)
        if now.score > (position.best.score if position.best else -math.inf):  # NaN never is
            position.best = now
            self._save_weights("best", {k: v for k, v in asdict(now).items() if v is not None})
        row = {"iteration": position.iteration, **scores}
        if self.log:
            self.log.validation(row)
            self.log.picture(position.iteration, self.gallery.picture())
        self.reporter.validation({**row, "best": position.best})

    def _scores(self, stop: StopRequest) -> dict[str, Any] | None:
        """Run over the validation set; None where a signal asked to stop."""
        total = len(self.data.val)

        def progress(done: int) -> bool:
            self.reporter.validating(done, total)
            return stop.signal is None or done == total

        batches = validation_batches(self.data.val, self.settings, self.group)
        seen_by, batches = self.gallery.watching(batches)
        options = self.settings.evaluate
        if not self.group.several:
            return evaluate(seen_by, batches, self.evaluator, options=options, progress=progress)
        shared: dict[str, Any] = {"frames": total, "stop": stop, "progress": progress}
        return evaluate_together(seen_by, batches, self.evaluator, options=options, **shared)

    def _save(self) -> None:
        self._share_broken()
        place = (self.position.iteration, self.position.validated)
        if self.saved == place:
            return
        state = self.side.state()
        require_same_state(state, self.group)

        def write() -> None:
            keep = self.settings.train.keep
            write_checkpoint(self.checkpoints, self.position, state, keep=keep, **self.identity)

        self.group.on_first(write)
        self.saved = place

    def _share_broken(self) -> None:
        """Let all processes know of images that one of them left out."""
        broken = self.data.train.broken
        if self.settings.data.skip_broken:
            for told in self.group.gather(list(broken.items())):
                broken.update(told)
        if self.group.is_first:
            self.broken.look()

    def _save_weights(self, name: str, about: dict[str, Any]) -> Path:
        path = self.folder / f"{name}{self.side.weights_suffix}"

        def write() -> None:
            with whole_file(path) as draft:
                self.side.save_weights(draft)
            with whole_file(self.folder / f"{name}.json") as draft:
                draft.write_text(json.dumps({"model": self.settings.model.name, **about}) + "\n")

        self.group.on_first(write)
        return path

    def _outcome(self, signal: int | None) -> Outcome:
        position, weights, early = self.position, None, self._ends_early()
        if early:
            options = self.settings.train.early_stop
            assert options is not None
            self.reporter.message(
                f"stopped early, after iteration {position.iteration}: {position.early.bad} "
                f"validations had no better {options.metric} than {position.early.best:.4f} "
                f"(train.early_stop.patience is {options.patience})"
            )
        if signal is None:
            weights = self._save_weights("final", {"iteration": position.iteration})
        if position.best:
            weights = self.folder / f"best{self.side.weights_suffix}"
        newest = Path(self.group.on_first(lambda: str(list_checkpoints(self.checkpoints)[0])))
        return Outcome(
            *(self.folder, position.iteration, signal, newest, position.best, weights),
            stopped_early=early,
        )

    def _diverged(self, found: NotFinite, batches: Sequence[Batch], lr: float) -> Diverged:
        """Save the step for a replay; say what is not finite, of which images."""
        self._share_broken()
        step = SavedStep(
            framework=self.side.framework,
            version=self.side.version,
            device=self.side.device,
            iteration=self.position.iteration,
            lr=lr,
            seed=step_seed(self.settings.seed, self.position.iteration),
            losses=found.losses,
            images=step_images(self.data.train, self.settings, self.position.iteration),
            settings=self.identity["settings"],
            batches=[each for batch in batches for each in batches_of_all(batch, self.group)],
            state=self.side.state(),
        )
        terms = ", ".join(f"{name} {value:g}" for name, value in found.losses.items())
        saved = list_checkpoints(self.checkpoints)
        last = f"; the last checkpoint is {saved[0]}" if saved else ""
        try:
            place = self.group.on_first(lambda: str(write_step(self.folder / "nan", step)))
            again = command("replay_batch", place)
            next_step = f"Where it begins, on both frameworks: {again}"
        except UserError as error:
            next_step = f"The step could not be saved for a replay: {error}"
        return Diverged(
            f"{found.what} is not finite in iteration {step.iteration + 1} ({terms}; rate {lr:g}); "
            f"it went into no checkpoint{last}. Images: {told_images(step.images)}. {next_step}"
        )


def _chain(first: list[Batch], rest: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
    yield first
    yield from rest
