"""Records a reference into a folder, where only torch is installed."""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from align.arrays.arrays_torch import to_tensor
from align.arrays.batch import Inputs, as_batch
from align.arrays.memory import give_back
from align.arrays.trees import map_leaves
from align.nets import progress
from align.nets.prepare_torch import prepared
from align.nets.whole_torch import NetWithLoss
from align.pairing.reference_torch import LiveReference
from align.record.bounds import Bounding, View
from align.record.draws import Draw
from align.record.recording_torch import ReferenceRun, record
from align.record.trace import TENSOR, Call, OnDisk, Slot, Trace
from align.stored.arrays import ArrayWriter, StoredArrays, read_tensors
from align.stored.files import check_target
from align.stored.filing_torch import Filing
from align.stored.floors_torch import floors, is_layer
from align.stored.format import (
    KIND,
    MANIFEST,
    SCHEMA,
    Manifest,
    StoredBounding,
    StoredCall,
    StoredDraw,
    StoredModule,
    StoredView,
    encode,
)
from align.stored.reach_torch import CallSide, reached
from common.documents import plain, write_json
from common.environment import environment
from common.errors import UserError
from common.files import sweep_drafts, whole_folder


def write_trace(
    torch_net: nn.Module,
    inputs: Inputs,
    folder: str | os.PathLike[str],
    *,
    train: bool,
    backward: bool,
    torch_loss: Any,
    seed: int,
    settings: Mapping[str, Any],
    shard_bytes: int,
) -> Path:
    """See `align.rungs.record_trace.record_trace`."""
    if torch_loss is not None and not backward:
        raise UserError("record_trace takes a loss with backward=True only")
    target = Path(folder)
    check_target(target)
    sweep_drafts(target)
    batch = as_batch(inputs, "float64", labelled=torch_loss is not None)
    said = {**settings, "inputs": batch.shapes, "seed": seed}
    net, start = torch_net, seed if torch_loss is None else None
    if torch_loss is not None:
        net, batch = NetWithLoss(torch_net, torch_loss), batch.whole
    facts = LiveReference(net)
    args, kwargs = map_leaves((batch.args, dict(batch.kwargs)), to_tensor)
    label = args[2] if torch_loss is not None else None
    run = ReferenceRun(args, kwargs, backward, start, label)
    with whole_folder(target) as draft:
        writer = ArrayWriter(draft, limit=shard_bytes)
        about = _about(facts, net, writer)
        about["inputs"] = encode(
            (batch.args, dict(batch.kwargs)), lambda leaf: _array(leaf, writer)
        )
        with prepared(net, dtype=torch.float64, train=train, float32_constants=set()):
            filing = Filing(net, writer)
            progress.begin("recording the reference", len(facts.paths))
            trace = record(net, run, lambda *_: filing)
            trace.choices.clear()  # no port elsewhere can be given them: they move as they will
            for call in trace.calls:
                filing.note_written(call)
            filed = _filed(trace, writer)
            shards = writer.finish()
            trace = _read_when_asked(trace, filed, writer.written())
            give_back()
            progress.begin("measuring rounding")
            _say_what_is_reached(filed["calls"], reached(net, trace, run))
            give_back()
            measured = floors(net, trace, run)
        manifest = Manifest(
            schema=SCHEMA,
            kind=KIND,
            train=train,
            backward=backward,
            with_loss=torch_loss is not None,
            settings=said,
            environment=environment(),
            parameters=sorted(trace.parameters),
            inplace=trace.inplace,
            as_code=trace.as_code,
            packed=trace.packed,
            floors=measured,
            shards=shards,
            complex128=writer.complex128,
            **filed,
            **about,
        )
        write_json(draft / MANIFEST, plain(asdict(manifest)))
    return target


def _about(facts: LiveReference, net: nn.Module, writer: ArrayWriter) -> dict[str, Any]:
    """Return what the manifest says of the net as it stands, before it is prepared."""
    identities = facts.identities()
    numbers = {identity: n for n, identity in enumerate(dict.fromkeys(identities.values()))}
    return {
        "modules": {
            path: StoredModule(
                paths=list(paths),
                class_name=facts.class_name(path),
                source=facts.source(path),
                code=facts.code(path),
                attributes=facts.attributes(path),
                settings={k: v for k, v in facts.settings(path).items() if not k.startswith("_")},
                momentum=facts.momentum(path),
                in_mode=facts.is_in_mode(path),
                is_layer=is_layer(net, path),
            )
            for path, paths in facts.paths.items()
        },
        "specs": [asdict(spec) for spec in facts.specs()],
        "state": {key: writer.add(array, copy=True) for key, array in facts.arrays().items()},
        "identities": {key: numbers[identity] for key, identity in identities.items()},
        "frozen": dict(facts.frozen()),
    }


def _array(leaf: Any, writer: ArrayWriter) -> dict[str, str] | None:
    if not isinstance(leaf, np.ndarray):
        return None
    if leaf.dtype.kind in "OUSMm":
        raise UserError(f"the inputs hold an array of {leaf.dtype}; give numbers")
    return {"array": writer.add(leaf)}


def _filed(trace: Trace, writer: ArrayWriter) -> dict[str, Any]:
    """Return what the manifest says of the run, with names in place of arrays."""
    numbers = {id(call): number for number, call in enumerate(trace.calls)}
    calls = [_call(call) for call in trace.calls]
    for call, stored in zip(trace.calls, calls, strict=True):
        stored.parent = None if call.parent is None else numbers[id(call.parent)]
    return {
        "calls": calls,
        "draws": [_draw(draw, writer) for draw in trace.draws],
        "bounds": [_bounding(call, writer) for call in trace.bounds],
        "buffers_before": {k: writer.add(a) for k, a in trace.buffers_before.items()},
        "buffers": {k: writer.add(a) for k, a in trace.buffers.items()},
        "gradients": {k: writer.optional(a) for k, a in trace.gradients.items()},
    }


def _read_when_asked(trace: Trace, filed: Mapping[str, Any], arrays: StoredArrays) -> Trace:
    """Return `trace` with those in the files as its tensors."""
    for call, stored in zip(trace.calls, filed["calls"], strict=True):
        read_tensors(call, stored, arrays)
    draws = [
        replace(draw, values=arrays[stored.values])
        for draw, stored in zip(trace.draws, filed["draws"], strict=True)
    ]
    held: dict[str, Any] = {
        name: {k: None if n is None else arrays[n] for k, n in filed[name].items()}
        for name in ("buffers_before", "buffers", "gradients")
    }
    return replace(trace, draws=draws, **held)


def _say_what_is_reached(calls: list[StoredCall], edges: Mapping[CallSide, set[CallSide]]) -> None:
    for number, call in enumerate(calls):
        call.feeds = sorted(edges.get((number, "output"), ()))
        call.enters = sorted(edges.get((number, "input"), ()))


def _draw(draw: Draw, writer: ArrayWriter) -> StoredDraw:
    return StoredDraw(
        function=draw.function,
        kind=draw.kind,
        calls=list(draw.calls),
        values=_name(draw.values) or writer.add(draw.values),
        low=draw.low,
        high=draw.high,
        keep=draw.keep,
    )


def _bounding(call: Bounding, writer: ArrayWriter) -> StoredBounding:
    views = [_view(view, writer) for view in call.views]
    return StoredBounding(call.function, call.owner, call.said, call.place, views)


def _view(view: View, writer: ArrayWriter) -> StoredView:
    span = view.span
    return StoredView(span.size, span.low, span.high, writer.optional(view.values))


def _name(kept: Any) -> Any:
    """Return the name of what was filed, None of anything else."""
    return kept.name if isinstance(kept, OnDisk) else None


def _call(call: Call) -> StoredCall:
    return StoredCall(
        path=call.path,
        index=call.index,
        parent=None,
        inputs=[_name(each) for each in call.inputs],
        outputs=[_name(each) for each in call.outputs],
        grad_inputs=[_name(each) for each in call.grad_inputs],
        grad_outputs=[_name(each) for each in call.grad_outputs],
        numbers=list(call.numbers),
        template=encode(call.template, lambda leaf: {"tensor": 0} if leaf is TENSOR else None),
        arguments=encode(
            call.arguments, lambda leaf: {"tensor": leaf.index} if isinstance(leaf, Slot) else None
        ),
        kernels=sorted(call.kernels),
        constant=sorted(call.constant),
        casts=call.casts,
        cast_of=call.cast_of,
        attention=call.attention,
        feeds=[],
        enters=[],
    )
