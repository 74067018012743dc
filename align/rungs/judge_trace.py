"""Keeps what a port gave beside a stored trace, and judges it again without running anything."""

import os
from dataclasses import fields
from pathlib import Path

from align.judge.compare import Allowance, compare
from align.judge.comparison import DIFFERS, Comparison
from align.report.read import report_from
from align.report.report import Divergence, Report
from align.stored.arrays import StoredArrays
from align.stored.files import check_schema, checked, read_manifest
from align.stored.format import MANIFEST, number
from align.stored.port import KIND, PORT, KeptPair, PortManifest
from common.documents import load_object, plain
from common.errors import UnreadableError


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
    from common.files import sha256_of

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
    arrays = StoredArrays(own, manifest.shards, manifest.complex128)
    report = report_from(manifest.report)
    for row in manifest.kept:
        if not 0 <= row.call < len(report.calls):
            raise UnreadableError(f"{path}: is damaged: the report has no comparison {row.call}")
        before = report.calls[row.call]
        report.calls[row.call] = _judged_again(before, row, arrays)
    report.divergences = _divergences(report)
    return report


def _judged_again(before: Comparison, row: KeptPair, arrays: StoredArrays) -> Comparison:
    """Return the comparison as it was where it comes out the same, else what comes out."""
    fresh = Comparison(before.layer, before.call, before.where, before.kind)
    fresh.kernels, fresh.cumulative, fresh.step = before.kernels, before.cumulative, before.step
    allowance = Allowance(
        rounding=number(row.rounding),
        kernels=number(row.kernels),
        unit=row.unit,
        summed=row.summed,
        random=row.random,
        inexact=number(row.inexact),
        reach=row.reach,
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
