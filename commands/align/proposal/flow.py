"""`--propose`: run both nets, pair their layers, try the rules, write them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.arrays.batch import Inputs, as_batch
from align.pairing.fill import proposal
from align.pairing.reference_torch import LiveReference
from align.pairing.static import hidden_layers
from commands.align.errors import errors_of_nets
from commands.align.nets import arguments_of_nets, batches
from commands.align.proposal.choices import MOST, choices
from commands.align.proposal.trial import RulesTrial, run_trial
from commands.subjects.inputs import seeded_inputs
from commands.subjects.own import build_pair, fill_reference
from common.documents import write_text
from common.errors import UserError
from common.streams import say
from common.terminal import working
from common.words.typed import command_line
from convert.names.pair_search import SURE
from convert.names.proposal import Proposal, counts

_ANY_OF_SEVERAL = 0.8  # how sure a pair is where another does as well
WHOLE, NOT_WHOLE, COULD_NOT_TRY = 0, 1, 2


@dataclass
class CallsOfBoth:
    """What both nets called, in the modes in which they ran (True: train mode).

    calls: paths at their first calls, (reference's, port's). failure: why there are none.
    """

    calls: tuple[list[str], list[str]] | None = None
    modes: list[bool] = field(default_factory=list)
    failure: str = ""


def write_proposal(options: Any) -> int:
    """Write a rules file that pairs layers of other names, tried where there are inputs.

    Returns 0 where every layer is paired and, if it was tried, the forward pass aligns; 1 where
    something is open or differs; 2 where the nets could not be run on the inputs.
    """
    path = Path(options.propose)
    if path.exists():
        raise UserError(f"--propose {path}: exists already; remove it or give another name")
    given = options.torch, options.paddle, options.seed
    torch_net, paddle_net = build_pair(*given, **arguments_of_nets(options))
    if options.weights:
        fill_reference(torch_net, options.weights, f"--torch {options.torch}")
    inputs = _inputs(options, torch_net, paddle_net)
    with working("proposing who is who", options.quiet):
        run = CallsOfBoth() if inputs is None else _run(torch_net, paddle_net, inputs)
        found = proposal(LiveReference(torch_net), paddle_net, options.rules, run.calls)
        found, trial, remark = _tried(found, torch_net, paddle_net, inputs, run, options.seed)
    write_text(path, found.to_yaml(remark))
    for line in hidden_layers(paddle_net):
        say(line)
    say(f"written: {path}: {counts(found)}")
    say(remark)
    say(_next(path, found, trial))
    if not found.is_whole or (trial.reports and not trial.is_aligned):
        return NOT_WHOLE
    return COULD_NOT_TRY if run.failure or trial.failure else WHOLE


def _inputs(options: Any, torch_net: Any, paddle_net: Any) -> Inputs | None:
    """Return the nets' inputs that the options give, without a label; None where they give none."""
    shapes = getattr(options, "input_shape", None)
    if not options.inputs:
        return seeded_inputs(shapes, options.seed) if shapes else None
    labelled = bool(getattr(options, "torch_loss", None))
    given = batches(options, torch_net, paddle_net, labelled=labelled)[0]
    batch = as_batch(given, "float64", labelled=labelled)
    return list(batch.args) or dict(batch.kwargs)


def _run(torch_net: Any, paddle_net: Any, inputs: Inputs) -> CallsOfBoth:
    """Run both nets for their calls: in eval mode, and in train mode what that has besides."""
    from commands.align.proposal.calls_paddle import calls_of_port
    from commands.align.proposal.calls_torch import calls_of_reference

    batch, run = as_batch(inputs, "float64"), CallsOfBoth()
    ours: list[str] = []
    theirs: list[str] = []
    for train in (False, True):
        try:
            with errors_of_nets("the port"):
                more = calls_of_reference(torch_net, batch, train)
                other = calls_of_port(paddle_net, batch, train)
        except UserError as error:
            if not train:  # of one image many nets run in eval mode alone
                return CallsOfBoth(failure=str(error))
            break
        if not train or set(more) - set(ours) or set(other) - set(theirs):
            run.modes.append(train)
            ours += [path for path in more if path not in ours]
            theirs += [path for path in other if path not in theirs]
    run.calls = ours, theirs
    return run


def _tried(
    found: Proposal,
    torch_net: Any,
    paddle_net: Any,
    inputs: Inputs | None,
    run: CallsOfBoth,
    seed: int,
) -> tuple[Proposal, RulesTrial, str]:
    """Return the proposal after its trial, the trial, and what is to be said of it."""
    if inputs is None:
        why = "not tried: give --inputs or --input-shape, and both nets are run as well"
        return found, RulesTrial(), why
    if run.calls is None:
        return (
            found,
            RulesTrial(),
            f"not tried, and paired without the order of calls: {run.failure}",
        )
    ways = choices(found)
    if not found.is_whole and not ways:
        why = f"what is ambiguous may be paired in more than {MOST} ways, or in none that is whole"
        if found.unmatched or found.unfilled:
            why = "some layers have no partner, so the port cannot be filled"
        return found, RulesTrial(), f"not tried: {why}"
    from commands.align.proposal.calls_torch import distinguish

    changed = distinguish(torch_net, seed)
    wholes = [found.settled(way, SURE, "the way that was tried") for way in ways] or [found]
    trials = [
        run_trial(torch_net, paddle_net, whole.to_rules(), inputs, run.modes) for whole in wholes
    ]
    modes = " and ".join("train" if train else "eval" for train in run.modes) + " mode"
    said = f"{modes}, {len(trials)} way{'s' * (len(trials) != 1)} to pair the layers"
    if changed:
        said += f", {changed} tensors of equal values made different for the trial"
    return _judged(found, ways, wholes, trials, said)


def _judged(
    found: Proposal,
    ways: Sequence[dict[str, str]],
    wholes: Sequence[Proposal],
    trials: Sequence[RulesTrial],
    said: str,
) -> tuple[Proposal, RulesTrial, str]:
    aligned = [index for index, trial in enumerate(trials) if trial.is_aligned]
    if len(aligned) > 1:
        why = f"{len(aligned)} of {len(ways)} ways align: the layers may be exchanged"
        chosen = found.tried("tried").settled(ways[aligned[0]], _ANY_OF_SEVERAL, why)
        return chosen, trials[aligned[0]], f"tried: {why} ({said})"
    if aligned:
        whole = wholes[aligned[0]]
        words = "the forward pass aligns with these rules"
        return whole.tried("tried"), trials[aligned[0]], f"tried: {words} ({said})"
    nearest = min(trials, key=lambda trial: (bool(trial.failure), trial.places))
    if len(trials) == 1:
        kept, what = wholes[0], "with these rules the forward pass does not align yet"
    else:
        kept, what = found, f"no way aligns; the nearest of {len(trials)} does not, either"
    reason = "could not be tried" if nearest.failure else f"tried: {what}"
    return kept, nearest, f"{reason} ({said}): {nearest.told()}"


def _next(path: Path, found: Proposal, trial: RulesTrial) -> str:
    """Say what to do next, with the exact command."""
    if not found.is_whole:
        return f"Next: read {path}, say in it what is open, and align with it: {_command(path)}"
    if trial.reports and not trial.is_aligned:
        return (
            "What differs is the port's fault or a wrong pair: align, and read the findings: "
            f"{_command(path)}"
        )
    return f"Next: {_command(path)}"


def _command(path: Path) -> str:
    """Return the command that was typed, with --rules instead of --propose."""
    words = shlex.split(command_line())
    kept, skip = [], False
    for word in words:
        name = word.partition("=")[0]
        if skip:
            skip = False
        elif name in ("--propose", "--rules"):
            skip = "=" not in word
        else:
            kept.append(word)
    return shlex.join([*kept, "--rules", str(path)])
