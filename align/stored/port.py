"""What a port computed on a stored trace, kept to be judged again without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from align.judge import compare
from align.judge.compare import Allowance
from align.judge.comparison import Comparison
from align.report.report import Report
from align.stored.arrays import ArrayWriter
from align.stored.format import MANIFEST, SCHEMA, Shard
from common.documents import STRICT, plain, write_json
from common.files import whole_folder

PORT = "port"  # the folder in a trace's


KIND = "port of a trace"


PORT_BYTES = 1 << 28  # of a file: so much is held in memory until it is written


@dataclass
class KeptPair:
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
    inexact: Any = 0.0


@dataclass
class PortManifest:
    """What `keep` stores: the report, and the arrays that it compared."""

    __pydantic_config__: ClassVar = STRICT

    schema: int
    kind: str
    trace: str
    report: dict[str, Any]
    kept: list[KeptPair]
    shards: list[Shard]
    complex128: list[str]


class Keeper:
    """Takes every pair of arrays that is compared."""

    def __init__(self, folder: Path, trace: str) -> None:
        self.folder, self.trace = folder, trace
        self.writer = ArrayWriter(folder, stem="port", limit=PORT_BYTES)
        self.rows: list[tuple[Comparison, KeptPair]] = []

    def take(
        self, reference: np.ndarray, port: np.ndarray, allowance: Allowance, into: Comparison
    ) -> None:
        """Keep one pair and its verdict."""
        row = KeptPair(
            call=-1,
            reference=self.writer.add(reference, copy=True),
            port=self.writer.add(port, copy=True),
            rounding=allowance.rounding,
            kernels=allowance.kernels,
            unit=allowance.unit,
            summed=allowance.summed,
            reach=allowance.reach,
            random=allowance.random,
            inexact=allowance.inexact,
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
    from common.files import sha256_of

    with whole_folder(folder / PORT) as draft:
        keeper = Keeper(draft, sha256_of(folder / MANIFEST))
        with compare.shown_to(keeper.take):
            yield keeper
