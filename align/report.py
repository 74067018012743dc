"""What a stage found: every comparison with its numbers, the divergences, one verdict."""

import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from align.judge import NOISE, UNCHECKED, Comparison

SCHEMA_VERSION = 1
ALIGNED, NOT_ALIGNED, COULD_NOT_CHECK = 0, 1, 2


@dataclass(frozen=True)
class Divergence:
    """One difference, blamed on the innermost code that explains it.

    Attributes:
        layer: path in the port whose own code differs, "" for the root.
        where: output:i, input:i (seen at the layer named by `call`), weight:name, buffer:name,
            attribute:name or calls.
        relative_error: largest difference / largest magnitude of the reference's tensor.
        floor: what rounding explains, in the same measure.
        worst_index: position of the largest difference in the tensor.
        step: training step, counted from 0; None outside training.
        cause: what explains it, where that is known.
        torch_source, paddle_source: file:line of the two sides' code.
    """

    layer: str
    where: str
    relative_error: float
    floor: float
    worst_index: tuple[int, ...] | None = None
    step: int | None = None
    cause: str | None = None
    call: str = ""
    torch_source: str | None = None
    paddle_source: str | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        name = self.layer or "(root)"
        seen = f" at {self.call}" if self.where.startswith("input") and self.call else ""
        index = "" if self.worst_index is None else f" at {list(self.worst_index)}"
        cause = f": {self.cause}" if self.cause else ""
        return (
            f"{name} {self.where}{seen}: off by {self.relative_error:.2g}{index}, "
            f"allowed {self.floor:.2g}{cause}"
        )


@dataclass
class Report:
    """The result of one stage of alignment.

    Attributes:
        stage: "weights", "forward", "loss", ...
        calls: every comparison that was made.
        divergences: what differs, in the order of the reference's run.
        notes: known differences of the frameworks and layers judged as glue, in words.
        settings: what was run: mode, dtype, shapes, seed.
    """

    stage: str
    calls: list[Comparison] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 aligned, 1 not aligned, 2 could not check (nothing was compared, or not all)."""
        if self.divergences:
            return NOT_ALIGNED
        if self.unchecked or not any(call.verdict != NOISE for call in self.calls):
            return COULD_NOT_CHECK
        return ALIGNED

    @property
    def aligned(self) -> bool:
        """True where everything was checked and nothing differs."""
        return self.exit_code == ALIGNED

    @property
    def unchecked(self) -> list[Comparison]:
        """The comparisons that could not be judged."""
        return [call for call in self.calls if call.verdict == UNCHECKED]

    @property
    def noise(self) -> list[Comparison]:
        """The comparisons in which rounding leaves nothing to compare."""
        return [call for call in self.calls if call.verdict == NOISE]

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the largest error that was judged."""
        judged = [call for call in self.calls if call.verdict not in (NOISE, UNCHECKED)]
        return max(judged, key=lambda call: call.relative_error, default=None)

    @property
    def verdict(self) -> str:
        """Say the result in one line."""
        worst = self.worst
        if self.exit_code == NOT_ALIGNED:
            layers = list(dict.fromkeys(d.layer or "(root)" for d in self.divergences))
            more = f" and {len(layers) - 8} more" if len(layers) > 8 else ""
            return f"not aligned: {', '.join(layers[:8])}{more}"
        if self.exit_code == COULD_NOT_CHECK:
            if not self.unchecked:
                noise = f", {len(self.noise)} tensors are rounding noise" if self.noise else ""
                return f"could not check: nothing was compared{noise}"
            first = self.unchecked[0]
            place = f"{first.layer or '(root)'} {first.where}"
            return f"could not check {len(self.unchecked)} tensors, first {place}: {first.cause}"
        assert worst is not None
        return (
            f"aligned: {len(self.calls)} tensors, worst {worst.relative_error:.2g} "
            f"(allowed {worst.floor:.2g}) at {worst.layer or '(root)'} {worst.where}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data; infinities become the text "inf"."""
        data = {
            "schema": SCHEMA_VERSION,
            "stage": self.stage,
            "aligned": self.aligned,
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "settings": self.settings,
            "versions": versions(),
            "notes": self.notes,
            "divergences": [asdict(divergence) for divergence in self.divergences],
            "calls": [asdict(call) for call in self.calls],
        }
        return _plain(data)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the report to `path`, whole or not at all."""
        write_text(Path(path), json.dumps(self.to_dict(), indent=1, allow_nan=False))


def versions() -> dict[str, str]:
    """Return the versions that a result depends on; a missing package is left out."""
    found = {"python": platform.python_version()}
    for package in ("torch", "paddlepaddle", "paddlepaddle-gpu", "numpy", "torch2paddle-seg"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_text(path: Path, text: str) -> None:
    """Write `text` to a temporary sibling of `path` and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
