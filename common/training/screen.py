"""A run on the terminal: a bar where there is one, else a line per interval; all on stderr."""

from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from common.terminal import screen
from common.training.reporter import ReportedRow, Reporter


class TrainingScreen(Reporter):
    """Shows what a run reports."""

    def __init__(self) -> None:
        self.console = screen(stderr=True)
        self._bar: Progress | None = None

    def start(self, settings: list[tuple[str, str]], notes: list[str], total: int) -> None:
        """Show the settings block, then the bar."""
        for label, value in settings:
            self.console.print(f"{label:<12}{value}")
        for note in notes:
            self.console.print(f"note: {note}")
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, console=self.console)
            self._train = self._bar.add_task("training", total=total, text="")
            self._val = self._bar.add_task("validation", total=None, text="", visible=False)
            self._bar.start()

    def message(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)

    def step(self, row: ReportedRow) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._train, completed=row["iteration"], text=describe(row))

    def log(self, row: ReportedRow) -> None:
        """Print a line where there is no bar."""
        if not self._bar:
            self.console.print(f"iteration {row['iteration']}  {describe(row)}")

    def validating(self, done: int, total: int) -> None:
        """Move the second bar."""
        if self._bar:
            self._bar.update(self._val, completed=done, total=total, visible=done < total)

    def validation(self, row: ReportedRow) -> None:
        """Print the mean and what is best so far; classes stand in the log and at the end."""
        best = row["best"]
        more = f"  Dice {row['dice']:.4f}" if "dice" in row else ""
        if isinstance(row.get("metric"), float):
            more += f"  metric {row['metric']:.4f}"
        so_far = f"best {best.score:.4f} at {best.iteration}" if best else "none finite yet"
        self.console.print(
            f"iteration {row['iteration']}  validation mIoU {row['mean_iou']:.4f}  pixel accuracy "
            f"{row['pixel_accuracy']:.4f}{more}  ({so_far})"
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()


def describe(row: ReportedRow) -> str:
    """Loss, rate, speed and time left in one line."""
    return (
        f"loss {row['loss']:.4f}  lr {row['lr']:.2e}  {row['images_per_s']:.1f} images/s  "
        f"step {row['step_s']:.3f} s (data {row['data_s']:.3f})  {duration(row['left_s'])} left"
    )


def duration(seconds: float) -> str:
    """H:MM:SS, or M:SS below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def class_table(iou: dict[str, float | None]) -> Any:
    """IoU by class, for the end of a run."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for name, value in iou.items():
        table.add_row(name, "absent" if value is None else f"{value:.4f}")
    return table
