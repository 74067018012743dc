"""Two nets set up for one trial: paired, cast, in their mode, with what they run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.pairing.by_path import Pairing
from align.pairing.reference import Reference
from align.record.trace import Trace

if TYPE_CHECKING:
    from align.pairing.reference_torch import LiveReference


@dataclass(frozen=True)
class Setup:
    """Two nets that are `prepared`, and how they run: what all runs of a trial have in common.

    `run` is that of the reference, `arguments` are those of the port. Without `keeps_gradients`
    gradients of the reference's parameters are dropped once judged.
    """

    reference: Any  # a `LiveReference`, or a `StoredReference` where no net is run
    paddle_net: Any
    pairing: Pairing
    run: Any
    arguments: tuple[tuple, dict[str, Any]]
    dtype: str
    train: bool
    keeps_gradients: bool = True


def paired(reference: Reference, paddle_net: Any, rules: Any = None) -> Pairing:
    """Return the pairing of two nets by path; `rules` rename the reference's paths first.

    `rules` is what `convert.names.rules.load_rules` takes: the file that the conversion uses.
    """
    from align.pairing.pair_nets import pair_nets

    return pair_nets(reference, paddle_net, rules)


@contextmanager
def prepared(
    reference: "LiveReference", paddle_net: Any, pairing: Pairing, *, dtype: str, train: bool
) -> Iterator[set[str]]:
    """Cast both nets and set their mode; everything is put back at the end.

    Yields the reference's normalisations whose constants were rounded to float32, as the port's
    kernels hold them.
    """
    import torch

    from align.nets import prepare_paddle, prepare_torch
    from align.nets.layers_paddle import holds_float32_constants, layers_by_path

    layers = layers_by_path(paddle_net)
    rounded = {r for p, r in pairing.partners.items() if holds_float32_constants(layers[p])}
    plain = [layers[path] for path in plain_norms(reference, pairing)]
    torch_dtype = getattr(torch, dtype)
    with (
        prepare_torch.prepared(
            reference.net, dtype=torch_dtype, train=train, float32_constants=rounded
        ),
        prepare_paddle.prepared(paddle_net, dtype=dtype, train=train),
        prepare_paddle.activations_apart(plain),
    ):
        yield rounded


def plain_norms(reference: Reference, pairing: Pairing) -> list[str]:
    """Return the port's layers whose partners normalise and do nothing else."""
    names = {f"BatchNorm{n}d" for n in (1, 2, 3)} | {"SyncBatchNorm"}
    return [port for port, path in pairing.partners.items() if reference.class_name(path) in names]


def rounding_note(rounded: set[str], trace: Trace) -> list[str]:
    """Say which constants were rounded on the reference, of layers that ran."""
    count = len(rounded & {call.path for call in trace.calls})
    if not count:
        return []
    return [
        f"epsilon and momentum of {count} normalisations were rounded to float32 on the reference "
        "too: Paddle's kernels hold them so"
    ]
