"""Two nets set up for one trial: paired, cast, in their mode, with what they run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from align.judge.words import Words
from align.pairing.attributes import CLASS
from align.pairing.reference import Reference
from align.pairing.sides import AnyReference, Sides
from align.record.trace import Trace
from align.trial.held_tables import one_sided_tables, only_while_held

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference


@dataclass(frozen=True)
class Setup(Generic[AnyReference]):
    """Two nets that are `prepared`, and how they run: what all runs of a trial have in common.

    `arguments` are those of the port, `run` is that of the reference, where it is no recording.
    Without `keeps_gradients` gradients of the reference's parameters are dropped once judged.
    """

    sides: Sides[AnyReference]
    arguments: tuple[tuple, dict[str, Any]]
    dtype: str
    train: bool
    backward: bool
    run: Any = None  # an `align.record.recording_torch.ReferenceRun`
    keeps_gradients: bool = True


@contextmanager
def prepared(sides: "Sides[LiveReference]", *, dtype: str, train: bool) -> Iterator[set[str]]:
    """Cast both nets and set their mode; everything is put back at the end.

    Yields the reference's normalisations whose constants were rounded to float32, as the port's
    kernels hold them.
    """
    from align.nets import prepare_paddle, prepare_torch
    from align.nets.casts.follow_paddle import PaddleTables
    from align.nets.casts.follow_torch import TorchTables

    rounded, plain = float32_constants(sides), plain_norms(sides)
    theirs, ours = one_sided_tables(sides) if dtype == "float64" else ([], [])
    sides.given_tables = [*theirs, *ours]
    with (
        sides.changed(),
        prepare_torch.prepared(
            sides.reference.net,
            dtype=prepare_torch.tensor_dtype(dtype),
            train=train,
            float32_constants=rounded,
            spectral_norms=spectral_norms(sides),
            tables=TorchTables(ours) if ours else None,
        ),
        prepare_paddle.prepared(
            sides.port,
            dtype=dtype,
            train=train,
            tables=PaddleTables(theirs) if theirs else None,
        ),
        prepare_paddle.activations_apart(plain),
    ):
        only_while_held(theirs, sides.reference.net)
        yield rounded


def float32_constants(sides: Sides[Reference]) -> set[str]:
    """Return the reference's modules whose partners hold epsilon and momentum in float32."""
    from align.nets.layers_paddle import holds_float32_constants

    partners = sides.pairing.partners.items()
    return {path for port, path in partners if holds_float32_constants(sides.layers[port])}


def spectral_norms(sides: Sides[Reference]) -> dict[str, str]:
    """Return {module of the reference: layer of the port} of spectral norms by Paddle's hook.

    Those of torch's `parametrizations`, whose power iterations go the other way about.
    """
    from align.nets.layers_paddle import spectral_vectors

    moves = sides.pairing.moves
    vectors = [
        name for path, layer in sides.layers.items() for name in spectral_vectors(path, layer)
    ]
    sources = {name: moves[name].source for name in vectors if name in moves}
    return {
        source.rpartition(".")[0]: name.rpartition(".")[0]
        for name, source in sources.items()
        if ".parametrizations." in source
    }


def plain_norms(sides: Sides[Reference]) -> list[Any]:
    """Return the port's layers whose partners normalise and do nothing else."""
    return [
        sides.layers[port]
        for port in sides.pairing.partners
        if sides.at_rest.attributes(port)[0].get(CLASS) == "BatchNorm"
    ]


def rounding_note(rounded: set[str], trace: Trace) -> list[Words]:
    """Say which constants were rounded on the reference, of layers that ran."""
    count = len(rounded & {call.path for call in trace.calls})
    return [Words("constants_rounded", count=count)] if count else []
