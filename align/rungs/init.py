"""The init rung: do both sides draw their first weights from the same distributions?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from align.causes.blame import blame_alone
from align.judge.comparison import DIFFERS, NOISE, Comparison, unless_compared
from align.pairing.pair_nets import pair_nets
from align.pairing.tensors import Tensor
from align.report.report import Report
from align.rungs.init_laws import Drawn, Sizes, causes
from common.nets import members

# Chance of one false alarm in a whole report: shared by all tensors (Bonferroni).
FALSE_ALARM = 1e-4
SEEDS = 20
ROUNDING = 1e-6  # relative: constants and tables that one side computes in float64
Samples = dict[str, list[np.ndarray]]  # a tensor's key -> its values, net by net
ENOUGH = 40_000_000  # parameters, drawn in all: a large net shows its laws in few draws


def align_init(
    torch_factory: Callable[[], Any],
    paddle_factory: Callable[[], Any],
    seeds: int | None = SEEDS,
    *,
    rules: Any = None,
) -> Report:
    """Compare the distributions of freshly built weights, tensor by tensor.

    Values cannot be equal: the generators differ. Each tensor's values over all seeds are
    compared by the two-sample Kolmogorov-Smirnov test; constants must be equal.

    Args:
        torch_factory, paddle_factory: build a net with new random weights at every call.
        seeds: number of nets on each side; None: 20, of a large net fewer, down to 2.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).

    Returns:
        A Report of stage "init": `where` is weight:name or buffer:name, `relative_error` the
        distance between the two distribution functions (0 to 1), `floor` the distance that
        chance explains. A tensor of which too few values were drawn to tell is "noise".
    """
    torch_net, tensors, theirs, ours = _drawn(torch_factory, paddle_factory, seeds, rules)
    report = Report("init", settings={"seeds": seeds or _seeds(torch_net)})
    known = [tensor for tensor in tensors if tensor.reference in theirs]
    drawn: list[tuple[Comparison, Drawn]] = []
    for tensor in known:
        kind = "buffer" if tensor.buffer else "weight"
        into = Comparison(tensor.layer, "", f"{kind}:{tensor.name}", "init")
        reference = np.concatenate(theirs[str(tensor.reference)])
        port = np.concatenate(ours[tensor.key])
        _compare(reference, port, len(known), into)
        report.calls.append(into)
        if into.verdict == DIFFERS:
            sizes = _sizes(torch_net, str(tensor.reference))
            drawn.append((into, Drawn(tensor.name, sizes, port, reference)))
    for (into, _), cause in zip(drawn, causes([one for _, one in drawn]), strict=True):
        into.cause = cause
    report.calls += unless_compared(report.calls, "no_common_tensor")
    return blame_alone(report)


def _drawn(
    torch_factory: Callable[[], Any],
    paddle_factory: Callable[[], Any],
    seeds: int | None,
    rules: Any,
) -> tuple[Any, list[Tensor], Samples, Samples]:
    """Return the last reference, the paired tensors and each side's first values, net by net."""
    from align.nets import seeds_paddle, seeds_torch
    from align.pairing.reference_torch import LiveReference

    theirs: Samples = {}
    ours: Samples = {}
    number = 0
    with seeds_torch.random_state_kept(), seeds_paddle.random_state_kept():
        while True:
            seeds_torch.seed(number)
            seeds_paddle.seed(number)
            torch_net = paddle_net = None  # before the next ones are built
            torch_net, paddle_net = torch_factory(), paddle_factory()
            for key, tensor in torch_net.state_dict().items():
                _add(theirs.setdefault(key, []), tensor.numpy())
            for key, tensor in paddle_net.state_dict().items():
                _add(ours.setdefault(key, []), tensor.numpy())
            number += 1
            if number >= (seeds or _seeds(torch_net)):
                break
        tensors = pair_nets(LiveReference(torch_net), paddle_net, rules).tensors
    return torch_net, tensors, theirs, ours


def _seeds(torch_net: Any) -> int:
    """Return how many nets of this size say enough."""
    size = sum(parameter.numel() for parameter in members.parameters(torch_net))
    return int(np.clip(ENOUGH // max(size, 1), 2, SEEDS))


def _add(samples: list[np.ndarray], array: np.ndarray) -> None:
    """Add a net's values; those of a net that seeds itself are the first one's, and count once."""
    sample = _sample(array)
    if not (samples and np.array_equal(samples[0], sample)):
        samples.append(sample)


def _sizes(torch_net: Any, key: str) -> Sizes | None:
    """Return what the laws of the tensor `key` go by: the sizes of its layer's weight."""
    path = key.rpartition(".")[0]
    weight = torch_net.state_dict().get(f"{path}.weight" if path else "weight")
    groups = getattr(torch_net.get_submodule(path), "groups", 1)
    return None if weight is None else Sizes.of(tuple(weight.shape), groups)


def _sample(array: np.ndarray) -> np.ndarray:
    """Return at most 4096 values, evenly taken: enough to tell 1.1 times the spread."""
    flat = array.reshape(-1)
    return flat[:: max(1, flat.size // 4096)].astype(np.float64)


def _compare(reference: np.ndarray, port: np.ndarray, tests: int, into: Comparison) -> None:
    into.shape = (reference.size,)
    if _same_values(reference, port):
        into.relative_error = 0.0
    elif np.ptp(reference) == 0.0 or np.ptp(port) == 0.0:
        into.relative_error = float(not _same_values(np.unique(reference), np.unique(port)))
        into.verdict = DIFFERS if into.relative_error else into.verdict
    else:
        from scipy import stats  # takes longer to import than the rest of this package

        result = stats.ks_2samp(reference, port)
        count = reference.size * port.size / (reference.size + port.size)
        into.relative_error = float(result.statistic)
        into.floor = float(np.sqrt(-np.log(FALSE_ALARM / tests / 2) / 2 / count))
        if into.relative_error > into.floor:
            into.verdict = DIFFERS
        elif into.floor >= 1.0:  # no two samples are further apart than 1
            into.verdict = NOISE


def _same_values(reference: np.ndarray, port: np.ndarray) -> bool:
    """Tell whether these are the same values to float32's rounding, in whatever order."""
    if reference.size != port.size:
        return False
    return np.allclose(np.sort(port), np.sort(reference), rtol=ROUNDING, atol=0.0)
