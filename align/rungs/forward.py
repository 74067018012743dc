"""The forward rung: the port's every layer and glue against the reference, in one forced pass."""

from typing import Any

from align.arrays.batch import Inputs, as_batch
from align.causes.blame import blame
from align.causes.explain import explain
from align.judge.comparison import DIFFERS, Comparison, unless_compared
from align.judge.words import Cause, Words
from align.pairing.pair_nets import pair_nets
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.report.report import Report
from align.trial.findings import Findings
from align.trial.setup import prepared, rounding_note
from align.trial.trial import run_forced
from align.trial.unshown.evidence import doubt_nothing_shown
from align.trial.unshown.geometry import unshown_geometry
from align.trial.unshown.zero_weights import run_past_zero_weights


def align_forward(
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs,
    *,
    train: bool = False,
    rules: Any = None,
    dtype: str = "float64",
) -> Report:
    """Judge every call of every layer of `paddle_net`, and the code between, against `torch_net`.

    Args:
        torch_net: the reference, any `torch.nn.Module` on the CPU.
        paddle_net: the port, any `paddle.nn.Layer` on the CPU, with the reference's weights.
        inputs: arrays of any shape; a sequence is passed by position, a mapping by keyword.
            Floating arrays are cast to `dtype`.
        train: train mode (batch statistics, dropout with the reference's masks, buffers after
            the pass) instead of eval mode.
        rules: how the reference names what the port names otherwise (`convert.names.rules`).
        dtype: "float64" for a verdict; "float32" shows the same against float32's own noise.

    Returns:
        A Report. Both nets are as before: weights, buffers, modes, dtypes, random state.

    Raises:
        ConfigError: `rules` is no rules file. Whatever the nets themselves raise on these inputs.
    """
    from align.causes.replayed_torch import replayed_by
    from align.pairing.reference_torch import LiveReference

    sides = pair_nets(LiveReference(torch_net), paddle_net, rules)
    batch = as_batch(inputs, dtype)
    report = Report("forward", settings={"train": train, "dtype": dtype, "inputs": batch.shapes})
    with prepared(sides, dtype=dtype, train=train) as rounded:

        def run() -> Findings:
            found = run_forced(sides, batch, dtype=dtype, train=train)
            explain(found.comparisons, sides, found, replayed_by(torch_net, batch))
            return found

        found = run_past_zero_weights(sides, run)
    return forward_report(report, sides, found, rounding_note(rounded, found.trace))


def forward_report(
    report: Report, sides: Sides[Reference], found: Findings, constants: list[Words]
) -> Report:
    """Fill `report` from what a forced pass found; `constants` are notes on rounded ones."""
    report.calls = forward_calls(sides, found, train=bool(report.settings["train"]))
    report.notes += found.notes + constants
    return blame(report, sides)


def forward_calls(sides: Sides[Reference], found: Findings, *, train: bool) -> list[Comparison]:
    """Return every comparison of a forward pass; a note says how many layers do not run."""
    doubt_nothing_shown(found)
    calls = list(found.values)
    idle = sides.at_rest.compare_layers(_not_run(found))
    unshown = _unshown(sides, found, train) + unshown_geometry(sides, found, calls)
    told = {call.layer for call in unshown}
    calls += idle + unshown + [c for c in found.unreached if c.layer not in told]
    calls += unread_rows(sides, calls)
    calls += unless_compared([c for c in calls if c.at.kind == "output"], "no_output")
    holders = {call.layer for call in idle if call.at.kind in ("weight", "buffer")}
    if holders:
        found.notes.append(Words("layers_idle", count=len(holders)))
    return calls


def unread_rows(sides: Sides[Reference], judged: list[Comparison]) -> list[Comparison]:
    """Return the tables of vectors that differ in rows which these inputs do not look up."""
    wrong = {call.layer for call in judged if call.verdict == DIFFERS}
    return [call for call in sides.at_rest.compare_tables() if call.layer not in wrong]


def _unshown(sides: Sides[Reference], found: Findings, train: bool) -> list[Comparison]:
    """Return the layers that ran, gave the reference's values and are of another class still.

    Such inputs do not tell ReLU from ReLU6. In eval mode all dropouts are the identity.
    """
    wrong = {call.layer for call in found.values if call.verdict == DIFFERS}
    ran = set(found.pairing.partners) - _not_run(found) - wrong
    unshown = []
    for call in sides.at_rest.other_classes(ran):
        classes = () if call.cause is None else call.cause.values.values()
        if call.cause and (train or not any("Dropout" in str(name) for name in classes)):
            call.cause = call.cause.also(Cause("not_shown"))
            unshown.append(call)
    return unshown


def _not_run(found: Findings) -> set[str]:
    """Return the port's layers that hold tensors or settings and run on neither side."""
    called = {call.path for call in found.trace.calls} | set(found.trace.as_code)
    return {port for port, reference in found.pairing.partners.items() if reference not in called}
