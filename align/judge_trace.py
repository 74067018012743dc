"""Keeps what a port gave beside a stored trace, and judges it again without running anything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from align import judge
from align.document import STRICT, load_object, plain, report_from, write_json
from align.judge import DIFFERS, Allowance, Comparison, compare
from align.report import Divergence, Report
from align.trace_arrays import Arrays, ArrayWriter
from align.trace_files import check_schema, checked, read_manifest
from align.trace_format import MANIFEST, SCHEMA, Shard, number
from common.errors import UnreadableError
from common.training.files import whole_folder

PORT = "port"  # the folder in a trace's
KIND = "port of a trace"
PORT_BYTES = 1 << 28  # of a file: so much is held in memory until it is written


@dataclass
class Kept:
    """One comparison of two arrays: which comparison of the report, and what was allowed."""

    __pydantic_config__: ClassVar = STRICT

    call: int
    reference: str
    port: str
    rounding: Any
    kernels: Any
    unit: float
    summed: int
    reach: int
    random: str
    verdict: str


@dataclass
class PortManifest:
    """What `keep` stores: the report, and the arrays that it compared."""

    __pydantic_config__: ClassVar = STRICT

    schema: int
    kind: str
    trace: str
    report: dict[str, Any]
    kept: list[Kept]
    shards: list[Shard]
    complex128: list[str]


class Keeper:
    """Takes every pair of arrays that is compared."""

    def __init__(self, folder: Path, trace: str) -> None:
        self.folder, self.trace = folder, trace
        self.writer = ArrayWriter(folder, stem="port", limit=PORT_BYTES)
        self.rows: list[tuple[Comparison, Kept]] = []

    def take(
        self, reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
    ) -> None:
        """Keep one pair and its verdict."""
        row = Kept(
            call=-1,
            reference=self.writer.add(reference, copy=True),
            port=self.writer.add(port, copy=True),
            rounding=allowance.rounding,
            kernels=allowance.kernels,
            unit=allowance.unit,
            summed=allowance.summed,
            reach=allowance.reach,
            random=allowance.random,
            verdict=into.verdict,
        )
        self.rows.append((into, row))

    def finish(self, report: Report) -> None:
        """Write what was kept of the comparisons that `report` has."""
        places = {id(call): index for index, call in enumerate(report.calls)}
        kept = []
        for into, row in self.rows:
            if id(into) in places:
                row.call = places[id(into)]
                kept.append(row)
        manifest = PortManifest(
            schema=SCHEMA,
            kind=KIND,
            trace=self.trace,
            report=report.to_dict(),
            kept=kept,
            shards=self.writer.finish(),
            complex128=self.writer.complex128,
        )
        write_json(self.folder / MANIFEST, plain(asdict(manifest)))


@contextmanager
def keeping(folder: Path) -> Iterator[Keeper]:
    """Keep every pair of arrays that is compared; `finish` must be called at the end."""
    from convert.write import sha256_of

    with whole_folder(folder / PORT) as draft:
        keeper = Keeper(draft, sha256_of(folder / MANIFEST))
        with judge.shown_to(keeper.take):
            yield keeper


def judge_trace(folder: str | os.PathLike[str]) -> Report:
    """Judge what `force_trace(..., keep=True)` stored, without running anything.

    Every pair of arrays is compared again. Where that gives what the stored report says, its
    causes are kept; what has no arrays (counts, static attributes) is as it was.

    Args:
        folder: a trace with a folder `port` in it.

    Returns:
        The Report.

    Raises:
        UnreadableError: nothing was kept there, or it is damaged, or of another trace.
    """
    from convert.write import sha256_of

    own = Path(folder) / PORT
    path = own / MANIFEST
    read_manifest(Path(folder))
    data = load_object(path, "force the trace with --keep first")
    if data.get("kind") != KIND:
        raise UnreadableError(f"{path}: its kind is {str(data.get('kind'))[:40]!r}, not {KIND!r}")
    check_schema(path, data)
    manifest: PortManifest = checked(path, PortManifest, data)
    if manifest.trace != sha256_of(Path(folder) / MANIFEST):
        raise UnreadableError(f"{path}: was kept of another recording; force the trace again")
    arrays = Arrays(own, manifest.shards, manifest.complex128)
    report = report_from(manifest.report)
    for row in manifest.kept:
        if not 0 <= row.call < len(report.calls):
            raise UnreadableError(f"{path}: is damaged: the report has no comparison {row.call}")
        before = report.calls[row.call]
        report.calls[row.call] = _judged_again(before, row, arrays)
    report.divergences = _divergences(report)
    return report


def _judged_again(before: Comparison, row: Kept, arrays: Arrays) -> Comparison:
    """Return the comparison as it was where it comes out the same, else what comes out."""
    fresh = Comparison(before.layer, before.call, before.where, before.kind)
    fresh.kernels, fresh.cumulative, fresh.step = before.kernels, before.cumulative, before.step
    allowance = Allowance(
        number(row.rounding), number(row.kernels), row.unit, row.summed, row.random, row.reach
    )
    compare(arrays[row.reference], arrays[row.port], allowance, fresh)
    errors = plain([fresh.relative_error, before.relative_error])
    return before if fresh.verdict == row.verdict and errors[0] == errors[1] else fresh


def _divergences(report: Report) -> list[Divergence]:
    """Return what differs: as it was said before, or as it is found now."""
    said = {(d.layer, d.where, d.call): d for d in report.divergences}
    found: dict[tuple[str, str, str], Divergence] = {}
    for call in report.calls:
        key = (call.layer, call.where, call.call)
        if call.verdict != DIFFERS or key in found:
            continue
        old = said.get(key)
        same = {entry.name for entry in fields(Divergence)} & {f.name for f in fields(Comparison)}
        values = {name: getattr(call, name) for name in same}
        if old is not None:
            values |= {"torch_source": old.torch_source, "paddle_source": old.paddle_source}
        found[key] = Divergence(**values)
    return list(found.values())
