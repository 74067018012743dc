"""A run on the terminal: a bar where there is one, else a line per interval; all on stderr."""

from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from common.terminal import duration, labelled, screen
from common.training.reporter import ReportedRow, Reporter
from common.words.language import phrase, said

LABEL = 12  # columns


class TrainingScreen(Reporter):
    """Shows what a run reports."""

    def __init__(self) -> None:
        self.console = screen(stderr=True)
        self._bar: Progress | None = None

    def start(self, settings: list[tuple[str, str]], notes: list[str], total: int) -> None:
        """Show the settings block, then the bar."""
        for line in labelled([(phrase(label), value) for label, value in settings], LABEL):
            self.console.print(line)
        for note in notes:
            self.console.print(phrase("note: {note}", note=said(note)))
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, console=self.console)
            self._train = self._bar.add_task(phrase("train"), total=total, text="")
            self._val = self._bar.add_task(phrase("validation"), total=None, text="", visible=False)
            self._bar.start()

    def message(self, text: str) -> None:
        """Print a line."""
        self.console.print(said(text))

    def step(self, row: ReportedRow) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._train, completed=row["iteration"], text=describe(row))

    def log(self, row: ReportedRow) -> None:
        """Print a line where there is no bar."""
        if not self._bar:
            number = phrase("iteration {iteration}", iteration=row["iteration"])
            self.console.print(f"{number}  {describe(row)}")

    def validating(self, done: int, total: int) -> None:
        """Move the second bar."""
        if self._bar:
            self._bar.update(self._val, completed=done, total=total, visible=done < total)

    def validation(self, row: ReportedRow) -> None:
        """Print the mean and what is best so far; classes stand in the log and at the end."""
        best = row["best"]
        more = f"  Dice {row['dice']:.4f}" if "dice" in row else ""
        if isinstance(row.get("metric"), float):
            more += f"  {phrase('metric')} {row['metric']:.4f}"
        so_far = phrase("none finite yet")
        if best:
            known = {"score": f"{best.score:.4f}", "iteration": best.iteration}
            so_far = phrase("best {score} at {iteration}", **known)
        number = phrase("iteration {iteration}", iteration=row["iteration"])
        self.console.print(f"{number}  {_scores(row)}{more}  ({so_far})")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()


def describe(row: ReportedRow) -> str:
    """Loss, rate, speed and time left in one line."""
    return phrase(
        "loss {loss}  lr {lr}  {speed} images/s  step {step} s (data {data})  {left} left",
        loss=f"{row['loss']:.4f}",
        lr=f"{row['lr']:.2e}",
        speed=f"{row['images_per_s']:.1f}",
        step=f"{row['step_s']:.3f}",
        data=f"{row['data_s']:.3f}",
        left=duration(row["left_s"]),
    )


def _scores(row: ReportedRow) -> str:
    """The means of a validation."""
    if "ap" in row:
        names = {"ap": "ap", "half": "ap50", "strict": "ap75", "box": "box_ap"}
        means = {place: f"{row[name]:.4f}" for place, name in names.items()}
        return phrase("validation mask AP {ap}  AP50 {half}  AP75 {strict}  box AP {box}", **means)
    if "pq" in row:
        names = {"pq": "pq", "sq": "sq", "rq": "rq", "mean": "mean_iou"}
        means = {place: f"{row[name]:.4f}" for place, name in names.items()}
        return phrase("validation PQ {pq}  SQ {sq}  RQ {rq}  mIoU {mean}", **means)
    return phrase(
        "validation mIoU {mean}  pixel accuracy {accuracy}",
        mean=f"{row['mean_iou']:.4f}",
        accuracy=f"{row['pixel_accuracy']:.4f}",
    )


def class_table(scores: dict[str, dict[str, float | None]]) -> Any:
    """Scores by class, for the end of a run; of several by their heads."""
    table = Table(box=None, show_header=len(scores) > 1, padding=(0, 2, 0, 0))
    table.add_column()
    for head in scores:
        table.add_column(head, justify="right")
    for name in next(iter(scores.values())):
        values = [each[name] for each in scores.values()]
        table.add_row(name, *(phrase("absent") if v is None else f"{v:.4f}" for v in values))
    return table
