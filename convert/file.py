"""From a checkpoint file to a `.pdparams` or `.safetensors` file: `convert_checkpoint`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common.errors import ConversionError, UnreadableError
from common.files import Background, sha256_of
from convert.conversion import Conversion, RulesLike, convert_arrays
from convert.formats.checkpoint import Checkpoint, read_checkpoint
from convert.formats.stored import dtype_named
from convert.formats.stream import Finite, OnBytes, Writing, Written
from convert.formats.table import PDPARAMS, SAFETENSORS, output_format
from convert.job import Job, described, job_of, with_row
from convert.names.spec import PADDLE, TORCH
from convert.outputs import files_beside, files_of, writing_alone
from convert.plan.account import DROPPED, RESHAPED, Account, nbytes_of
from convert.together import whole_files
from convert.verify.compare import Verification, verify

_NAMED = 8


def convert_checkpoint(
    path: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    model: Any = None,
    rules: RulesLike = None,
    verify: bool = False,
    *,
    num_classes: int | None = None,
    into: str | None = None,
    key: str | None = None,
    force: bool = False,
    progress: OnBytes | None = None,
    generic: bool = False,
    checksum: bool = True,
    allow_nonfinite: bool = False,
) -> Conversion:
    """Convert a checkpoint; write `output` and `<output>.account.json`, both or neither.

    Large dropped tensors go to `<output>.dropped.safetensors`, for the way back.

    Args:
        path: the checkpoint (see `read_checkpoint`); no code from it is run.
        output: a `.pdparams` or `.safetensors` file; None writes nothing.
        model: name of a row of the table, a `paddle.nn.Layer` (its shapes, dtypes and kinds of
            layer are read), or None: find out which row the file holds. The tensors of a net that
            is named are written in its dtypes, the account says which were cast.
        rules: a rules file instead of the row's own.
        verify: run both nets of the row in float64 and refuse to write if they differ.
        num_classes: fail if the file has another number of classes.
        into: "ROW:PATH", fill that part of another row's net ("stdc2_seg:cp.backbone").
        key: which of several state dicts in the file.
        force: replace an existing output.
        progress: called with (bytes done, bytes in all) while writing.
        generic: no net: infer the kinds of layer from the file (`convert.nets.generic`).
        checksum: put SHA-256 sums of source and output into the account.
        allow_nonfinite: write NaN and infinite values too.

    Raises:
        UnreadableError, UserError: the file cannot be read, or what is asked for makes no sense.
        ConversionError: the file does not fit, a value is not finite, or the nets differ.
    """
    checkpoint = read_checkpoint(path, key)
    with ExitStack() as held:
        check = checkpoint.require_unchanged
        if output is not None:
            names, read = files_beside(Path(output)), [*checkpoint.files, *files_of(rules)]
            check = held.enter_context(writing_alone(names, read, force))
        job = job_of(checkpoint, model, rules, num_classes, into, generic)
        if verify:
            job = with_row(job, model)
        conversion = convert_arrays(
            job.checkpoint,
            job.target,
            job.rules,
            job.pair,
            job.prefix,
            job.parts,
            PDPARAMS if output is None else output_format(Path(output), PADDLE),
            cast=model is not None or into is not None,
        )
        conversion = _with_notes(conversion, job, model)
        digests = Background(_sums, checkpoint.files) if checksum else None
        if output is not None:
            writer = _Writer(conversion, job, Path(output), progress, checksum, allow_nonfinite)
            return writer.write(model, digests, verify, check)
        conversion = replace(conversion, account=_head(conversion.account, job, model, digests))
        conversion = _verified(conversion, job, conversion.state) if verify else conversion
        check()
        return conversion


def _with_notes(conversion: Conversion, job: Job, model: Any) -> Conversion:
    """Say in the account that a net was found out and that its dtypes are not the file's."""
    own = {spec.key: spec.dtype for spec in job.target}
    rows = [row for row in conversion.account.target_tensors if row.source is not None]
    kept = [row for row in rows if row.dtype != own[row.key]]
    if not kept or not job.net:
        return conversion
    note = (
        f"{len(kept)} tensors stay {kept[0].dtype}, as the file has them; the net is built in "
        f"{own[kept[0].key]} and takes them only cast: --model {job.net.row} writes them so"
    )
    account = conversion.account
    return replace(conversion, account=replace(account, notes=(*account.notes, note)))


def _sums(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file; UnreadableError where one is gone."""
    try:
        return [sha256_of(path) for path in files]
    except OSError as error:
        raise UnreadableError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _head(account: Account, job: Job, model: Any, digests: Background | None) -> Account:
    """Fill in what the account says about the file and the net."""
    path, *parts = job.checkpoint.files
    sums = digests.result() if digests else [None] * (1 + len(parts))
    source = {
        "path": str(path),
        "bytes": job.checkpoint.size,
        "sha256": sums[0],
        "found_as": job.checkpoint.found_as,
    }
    if parts:  # of an index
        source["parts"] = {part.name: sha256 for part, sha256 in zip(parts, sums[1:], strict=True)}
    ties = job.checkpoint.aliases
    return replace(account, source=source, net=described(job, model), ties=ties)


class _Writer:
    """Writes what belongs to one output: all of it or nothing."""

    def __init__(
        self,
        conversion: Conversion,
        job: Job,
        output: Path,
        progress: OnBytes | None,
        checksum: bool,
        allow_nonfinite: bool,
    ) -> None:
        self._conversion, self._job, self._output = conversion, job, output
        self._format = output_format(output, PADDLE)
        self._progress, self._checksum, self._allow = progress, checksum, allow_nonfinite

    def write(
        self, model: Any, digests: Background | None, verified: bool, check: Callable[[], None]
    ) -> Conversion:
        """Write all files; what is verified is the written file, before it gets its name.

        `check` is called before they get their names.
        """
        output, kept, beside = names = files_beside(self._output)
        with whole_files(names) as drafts:
            sha256, size = self._write_state(drafts[output])
            conversion = self._conversion
            account = _head(conversion.account, self._job, model, digests)
            conversion = replace(conversion, account=account)
            if verified:
                conversion = _verified(conversion, self._job, self._read_back(drafts[output]))
            written = {"path": str(output), "bytes": size, "sha256": sha256}
            written |= {"account": str(beside)}
            if dropped := self._dropped():
                assert SAFETENSORS.write is not None
                SAFETENSORS.write(dropped, drafts[kept], Writing(TORCH, checksum=False))
                written |= {"dropped": str(kept)}
            conversion = replace(conversion, account=replace(conversion.account, output=written))
            drafts[beside].write_text(conversion.account.to_json(), encoding="utf-8")
            self._job.checkpoint.require_unchanged()
            check()
        return conversion

    def _write_state(self, temporary: Path) -> Written:
        """Write the tensors; raises ConversionError for values that are not finite."""
        finite = Finite()
        dtypes = {row.key: row.dtype for row in self._conversion.account.target_tensors}
        state = {key: _typed(array, dtypes[key]) for key, array in self._items()}
        assert self._format.write is not None
        how = Writing(PADDLE, {}, self._progress, self._checksum, finite)
        written = self._format.write(state, temporary, how)
        if finite.wrong:
            self._not_finite(finite.wrong)
        return written

    def _read_back(self, temporary: Path) -> Mapping[str, np.ndarray]:
        """Return what stands in the file: what Paddle itself reads from a format of its own."""
        if self._format.native != PADDLE:
            return read_checkpoint(temporary)
        from convert.verify.run_paddle import load_pdparams

        return load_pdparams(temporary)

    def _items(self) -> Any:
        return self._conversion.state.items()

    def _not_finite(self, wrong: Mapping[str, int]) -> None:
        rows = {row.key: row for row in self._conversion.account.target_tensors}
        counts: dict[str, int] = {}
        pieces = {key for key in wrong if rows[key].piece}
        for key, count in wrong.items():
            source = rows[key].source or key
            added = counts.get(source, 0) + count if key in pieces else count
            counts[source] = added
        account = replace(self._conversion.account, not_finite=counts)
        self._conversion = replace(self._conversion, account=account)
        if self._allow:
            return
        sizes = {row.key: int(np.prod(row.shape)) for row in account.source_tensors}
        found = [f"{key} ({count} of {sizes[key]})" for key, count in counts.items()]
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise ConversionError(
            f"values that are NaN or infinite in: {', '.join(found[:_NAMED])}{more}; the training "
            "diverged or the file is damaged. Nothing was written; --allow-nonfinite moves them"
        )

    def _dropped(self) -> dict[str, np.ndarray]:
        """Return the dropped tensors whose values do not stand in the account."""
        return {
            row.key: self._job.checkpoint.view(row.key)
            for row in self._conversion.account.source_tensors
            if row.became == DROPPED and row.value is None and nbytes_of(row.shape, row.dtype)
        }


def _typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return bfloat16 bits as what they are."""
    if dtype == "bfloat16" and array.dtype == np.uint16:
        return array.view(ml_dtypes.bfloat16)
    return array


def _verified(conversion: Conversion, job: Job, state: Mapping[str, np.ndarray]) -> Conversion:
    """Return `conversion` with the proof in its account."""
    assert job.net is not None
    if job.row_rules is None:
        rules = job.rules
        state = {name.removeprefix(job.prefix): state[name] for name in state}
    else:
        rules = job.row_rules
        state = _back_in_row(conversion, job, state)
    arrays = _as_cast(job.checkpoint, conversion.account)
    proof: Verification = verify(job.net, arrays, rules, state)
    account = replace(conversion.account, verification={**asdict(proof), "worst": proof.worst})
    return replace(conversion, account=account)


def _as_cast(checkpoint: Checkpoint, account: Account) -> Mapping[str, np.ndarray]:
    """Return the file's tensors in the dtypes that were written, for the reference."""
    dtypes = {row.source: row.dtype for row in account.target_tensors if row.rounded}
    if not dtypes:
        return checkpoint
    return {
        key: checkpoint[key].astype(dtype_named(dtypes[key])) if key in dtypes else checkpoint[key]
        for key in checkpoint
    }


def _back_in_row(
    conversion: Conversion, job: Job, state: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `state` in the names of the file's row; what was dropped is taken from the file."""
    from convert.nets.rows import describe_row

    assert job.net is not None
    assert job.row_rules is not None
    target = describe_row(job.net.row, job.net.options)
    whole = convert_arrays(job.checkpoint, target, job.row_rules, job.net.pair)
    moved = {row.source: state[row.key] for row in conversion.account.target_tensors if row.source}
    transposed = {row.source for row in whole.account.target_tensors if row.transposed}
    for row in conversion.account.source_tensors:
        if row.became == RESHAPED:
            array = moved[row.key].reshape(row.shape)
            moved[row.key] = array.T if row.key in transposed else array
    return {
        row.key: moved.get(row.source or "", whole.state[row.key])
        for row in whole.account.target_tensors
    }
