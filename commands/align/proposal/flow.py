"""`--propose`: run both nets, pair their layers, try the rules, write them."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.arrays.batch import Inputs, as_batch
from align.judge.words import printed
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
from common.words.language import ENGLISH, both, comma, language, phrase
from common.words.texts import error_said
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
    if os.path.lexists(path):
        raise UserError(f"--propose {path}: exists already; remove it or give another name")
    given = options.torch, options.paddle, options.seed
    torch_net, paddle_net = build_pair(*given, **arguments_of_nets(options))
    if options.weights:
        fill_reference(torch_net, options.weights, f"--torch {options.torch}")
    inputs = _inputs(options, torch_net, paddle_net)
    with working(phrase("proposing who is who"), options.quiet):
        run = CallsOfBoth() if inputs is None else _run(torch_net, paddle_net, inputs)
        found = proposal(LiveReference(torch_net), paddle_net, options.rules, run.calls)
        found, trial, remark = _tried(found, torch_net, paddle_net, inputs, run, options.seed)
    write_text(path, found.to_yaml(remark))
    for line in hidden_layers(paddle_net):
        say(printed(line))
    say(phrase("written: {path}: {what}", path=path, what=counts(found)))
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
        why = phrase("not tried: give --inputs or --input-shape, and both nets are run as well")
        return found, RulesTrial(), why
    if run.calls is None:
        what = "not tried, and paired without the order of calls: {error}"
        return found, RulesTrial(), phrase(what, error=error_said(run.failure))
    ways = choices(found)
    if not found.is_whole and not ways:
        many = "not tried: what is ambiguous may be paired in over {count} ways, or in none"
        why = phrase(many, count=MOST)
        if found.unmatched or found.unfilled:
            why = phrase("not tried: some layers have no partner, so the port cannot be filled")
        return found, RulesTrial(), why
    from commands.align.proposal.calls_torch import distinguish

    changed = distinguish(torch_net, seed)
    wholes = [found.settled(way, SURE, "the way that was tried") for way in ways] or [found]
    trials = [
        run_trial(torch_net, paddle_net, whole.to_rules(), inputs, run.modes) for whole in wholes
    ]
    return _judged(found, ways, wholes, trials, _how(run.modes, len(trials), changed))


def _how(modes: Sequence[bool], ways: int, changed: int) -> str:
    """Say how rules were tried: in which modes, in how many ways, what was changed for it."""
    ran = "eval and train mode" if len(modes) > 1 else "train mode" if modes[0] else "eval mode"
    parts = [phrase(ran)]
    parts.append(
        phrase("1 way to pair the layers")
        if ways == 1
        else phrase("{count} ways to pair the layers", count=ways)
    )
    if changed:
        equal = "{count} tensors of equal values made different for the trial"
        parts.append(phrase(equal, count=changed))
    return comma().join(parts)


def _judged(
    found: Proposal,
    ways: Sequence[dict[str, str]],
    wholes: Sequence[Proposal],
    trials: Sequence[RulesTrial],
    how: str,
) -> tuple[Proposal, RulesTrial, str]:
    aligned = [index for index, trial in enumerate(trials) if trial.is_aligned]
    if len(aligned) > 1:
        several = "{count} of {total} ways align: the layers may be exchanged"
        why = both(several, count=len(aligned), total=len(ways))
        chosen = found.tried("tried").settled(ways[aligned[0]], _ANY_OF_SEVERAL, why[ENGLISH])
        return chosen, trials[aligned[0]], _tried_so(why[language()], how)
    if aligned:
        whole = wholes[aligned[0]]
        words = phrase("the forward pass aligns with these rules")
        return whole.tried("tried"), trials[aligned[0]], _tried_so(words, how)
    nearest = min(trials, key=lambda trial: (bool(trial.failure), trial.places))
    if len(trials) == 1:
        kept, what = wholes[0], phrase("with these rules the forward pass does not align yet")
    else:
        kept = found
        what = phrase("no way aligns; the nearest of {count} does not, either", count=len(trials))
    tried = phrase("could not be tried ({how})", how=how) if nearest.failure else ""
    tried = tried or _tried_so(what, how)
    return kept, nearest, phrase("{what}: {error}", what=tried, error=error_said(nearest.told()))


def _tried_so(what: str, how: str) -> str:
    return phrase("tried: {what} ({how})", what=what, how=how)


def _next(path: Path, found: Proposal, trial: RulesTrial) -> str:
    """Say what to do next, with the exact command."""
    if not found.is_whole:
        read = "Next: read {path}, say in it what is open, and align with it: {command}"
        return phrase(read, path=path, command=_command(path))
    if trial.reports and not trial.is_aligned:
        wrong = (
            "What differs is the port's fault or a wrong pair: align, and read the findings: "
            "{command}"
        )
        return phrase(wrong, command=_command(path))
    return phrase("Next: {command}", command=_command(path))


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
