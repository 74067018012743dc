"""From a checkpoint file to a `.pdparams` file: `convert_checkpoint`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, Pair, get_pair
from convert.account import Account
from convert.checkpoint import Checkpoint, read_checkpoint
from convert.conversion import Conversion, RulesLike, convert_arrays, rules_for
from convert.recognise import Recognised, recognise
from convert.rules import Rules, load_rules, resolve
from convert.spec import TensorSpec
from convert.verify import Verification, verify
from convert.write import (
    Progress,
    account_path,
    atomic,
    check_output,
    sha256_of,
    write_pdparams,
)


@dataclass(frozen=True)
class _Job:
    """What to convert into what. `net` is the file's row, None for a stranger's layer."""

    checkpoint: Checkpoint
    target: Sequence[TensorSpec]
    rules: Rules
    pair: Pair | None
    net: Recognised | None
    into: str | None = None
    row_rules: Rules | None = None  # of the row alone, where `rules` also lead into a place
    parts: tuple[str, ...] = ("",)  # what of the place the file fills

    @property
    def prefix(self) -> str:
        """Place of the file's net in the target, "" or ending in a dot."""
        place = self.into.partition(":")[2] if self.into else ""
        return f"{place}." if place else ""


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
    progress: Progress | None = None,
) -> Conversion:
    """Convert a PyTorch checkpoint; write `output` and `<output>.account.json`, both or neither.

    Args:
        path: the checkpoint; no code from it is run.
        output: a `.pdparams` file; None writes nothing.
        model: name of a row of the table, a `paddle.nn.Layer` (its shapes, dtypes and kinds of
            layer are read), or None: find out which row the file holds.
        rules: a rules file instead of the row's own.
        verify: run both nets of the row in float64 and refuse to write if they differ.
        num_classes: fail if the file has another number of classes.
        into: "ROW:PATH", fill that part of another row's net ("stdc2_seg:cp.backbone").
        key: which of several state dicts in the file.
        force: replace an existing output.
        progress: called with (bytes done, bytes in all) while writing.

    Raises:
        UnreadableError, UserError: the file cannot be read, or what is asked for makes no sense.
        ConversionError: the file does not fit, a value is not finite, or the nets differ.
    """
    checkpoint = read_checkpoint(path, key)
    if output is not None:
        check_output(checkpoint.path, Path(output), force)
    job = _job(checkpoint, model, rules, num_classes, into)
    if verify and job.net is None:
        job = replace(job, net=_row_of_layer(checkpoint, model, job.rules))
    conversion = convert_arrays(checkpoint, job.target, job.rules, job.pair, job.prefix, job.parts)
    conversion = replace(conversion, account=_head(conversion.account, job, model))
    if output is None:
        return _verified(conversion, job, conversion.state) if verify else conversion
    _check_finite(checkpoint)
    return _write(conversion, job, Path(output), verify, progress)


def _job(
    checkpoint: Checkpoint, model: Any, rules: RulesLike, num_classes: int | None, into: str | None
) -> _Job:
    if model is not None and not isinstance(model, str):
        if into or num_classes is not None:
            raise UserError("into and num_classes go with a row of the table, not with a layer")
        from convert.describe_paddle import describe

        pair = PAIRS.get(getattr(model, "pair_name", ""))
        return _Job(checkpoint, describe(model), rules_for(pair, rules), pair, None)
    from convert.describe_paddle import describe_row

    own_rules = None if rules is None else load_rules(rules)
    shapes = checkpoint.shapes
    net = recognise(shapes, model, num_classes, own_rules)
    chosen = rules_for(net.pair, rules)
    if into is None:
        return _Job(checkpoint, describe_row(net.row, net.options), chosen, net.pair, net)
    _check_place(net, into)
    target = describe_row(into.partition(":")[0], {})
    if into not in net.pair.subtree_rules:
        return _Job(checkpoint, target, chosen, None, net, into)
    adapted = chosen + load_rules(net.pair.subtree_rules[into])
    parts = {name.partition(".")[0] + "." for name in resolve(checkpoint, adapted).sources}
    return _Job(checkpoint, target, adapted, None, net, into, chosen, tuple(sorted(parts)))


def _check_place(net: Recognised, into: str) -> None:
    """Raise where the table does not say that `net` fills the place `into`."""
    if into in net.pair.subtrees:
        return
    get_pair(into.partition(":")[0])
    places = {place: row for row, pair in PAIRS.items() for place in pair.subtrees}
    if into in places:
        raise ConversionError(
            f"the file holds {net}, but {into} is filled by {places[into]}; "
            f"{net.row} fits into: {', '.join(net.pair.subtrees) or 'no other net'}"
        )
    raise UserError(f"no place is called {into!r}; there are: {', '.join(places)}")


def _row_of_layer(checkpoint: Checkpoint, layer: Any, rules: Rules) -> Recognised:
    row = getattr(layer, "pair_name", None)
    if row is None:
        raise UserError(
            "only nets of the table can be verified here, which need a layer of "
            "paddle_impl.build_model; align two nets of your own with align.align_forward"
        )
    return recognise(checkpoint.shapes, row, rules=rules)


def _head(account: Account, job: _Job, model: Any) -> Account:
    """Fill in what the account says about the file and the net."""
    path = job.checkpoint.path
    net: dict[str, Any] = {"row": None, "layer": type(model).__name__}
    if job.net:
        net = {"row": job.net.row, "options": dict(job.net.options), "into": job.into}
    source = {
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "found_as": job.checkpoint.found_as,
    }
    return replace(account, source=source, net=net, ties=job.checkpoint.aliases)


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    found = []
    for key, array in arrays.items():
        count = array.size - int(np.isfinite(array).sum())
        if count:
            found.append(f"{key} ({count} of {array.size})")
    if found:
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise ConversionError(
            f"values that are NaN or infinite in: {', '.join(found[:8])}{more}; the training "
            "diverged or the file is damaged. Nothing was written"
        )


def _write(
    conversion: Conversion, job: _Job, output: Path, verified: bool, progress: Progress | None
) -> Conversion:
    """Write both files; what is verified is the written file, before it gets its name."""
    with atomic(output) as temporary:
        sha256, size = write_pdparams(conversion.state, temporary, progress)
        if verified:
            from convert.verify_paddle import load_pdparams

            conversion = _verified(conversion, job, load_pdparams(temporary))
        beside = account_path(output)
        written = {"path": str(output), "bytes": size, "sha256": sha256, "account": str(beside)}
        conversion = replace(conversion, account=replace(conversion.account, output=written))
        with atomic(beside) as account:
            account.write_text(conversion.account.to_json(), encoding="utf-8")
    return conversion


def _verified(conversion: Conversion, job: _Job, state: Mapping[str, np.ndarray]) -> Conversion:
    """Return `conversion` with the proof in its account."""
    assert job.net is not None
    if job.row_rules is None:
        rules = job.rules
        state = {name.removeprefix(job.prefix): array for name, array in state.items()}
    else:
        rules = job.row_rules
        state = _back_in_row(conversion, job, state)
    proof: Verification = verify(job.net, job.checkpoint, rules, state)
    account = replace(conversion.account, verification={**asdict(proof), "worst": proof.worst})
    return replace(conversion, account=account)


def _back_in_row(
    conversion: Conversion, job: _Job, state: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `state` in the names of the file's row; what was dropped is taken from the file."""
    from convert.describe_paddle import describe_row

    assert job.net is not None
    assert job.row_rules is not None
    target = describe_row(job.net.row, job.net.options)
    whole = convert_arrays(job.checkpoint, target, job.row_rules, job.net.pair)
    moved = {row.source: state[row.key] for row in conversion.account.target_tensors if row.source}
    return {
        row.key: moved.get(row.source or "", whole.state[row.key])
        for row in whole.account.target_tensors
    }
