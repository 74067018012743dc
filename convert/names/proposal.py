"""A proposal of who is who, and the rules file that it is: few renames, and what is open."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile

import yaml

from common.words.language import comma, phrase, said
from convert.names.general_rules import ProposedRename, renames_of
from convert.names.pair_search import LIKELY, ROLES, SURE, LayerPair
from convert.names.rules import Alias, Rename, Rules, resolve
from convert.names.spec import COUNTER

_LISTED = 6
ROOT = "(root)"
_HEAD = "A proposal: read it, correct it, then give it as --rules (to convert_weights as --map)."
_CLASH = (
    "These renames alone lead two tensors to one name, or one of them elsewhere: what is open has "
    "to be said first."
)
LEVELS = {"sure": SURE, "likely": LIKELY}
DOUBTFUL = "look at it"


@dataclass(frozen=True)
class Proposal:
    """What is proposed.

    Attributes:
        pairs: proposed pairs.
        ambiguous: layer of the file -> layers of the net that it may be, in the net's order; where
            the calls and the names contradict each other, first what the calls say.
        unmatched: layers of the file that look like none of the net's.
        unfilled: layers of the net that none of the file's looks like.
        same: layers of one name on both sides, which need no rule.
        doubts: layer of the file -> why it is ambiguous, where more is known than its shapes.
        aliases: second names in the file of layers that the net has once: (path, the net's path).
        given: the rules that were applied to the file's names first.
        keys: names of the file's tensors.
        called: layers of the file, and of the net, that were called when both nets were run.
        but_for_bias: layer of the file -> the one layer of the net that is left and is like it, of
            which one of the two alone has a bias.
    """

    pairs: tuple[LayerPair, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    unmatched: tuple[str, ...]
    unfilled: tuple[str, ...]
    same: tuple[LayerPair, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[tuple[str, str], ...] = ()
    given: Rules = field(default_factory=Rules)
    keys: tuple[str, ...] = ()
    called: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    but_for_bias: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every layer of both sides has its partner."""
        return not (self.ambiguous or self.unmatched or self.unfilled)

    @cached_property
    def renames(self) -> list[ProposedRename]:
        """The few renames that make the net's names of the file's, in their order.

        That is the order of the file's layers, as far as it makes no difference.
        """
        wanted = {target for targets in self.ambiguous.values() for target in targets}
        wanted |= {p.target for p in (*self.pairs, *self.same)} | set(self.unfilled)
        still = [*self.ambiguous, *self.unmatched, *(path for path, _ in self.aliases)]
        names = resolve(self.keys, self.given).sources
        places = {name.rpartition(".")[0]: i for i, name in reversed(list(enumerate(names)))}
        pairs = sorted((*self.pairs, *self.same), key=lambda p: places.get(p.source, 0))
        return renames_of(pairs, still, wanted, self.accepts)

    def accepts(self, renames: Iterable[Rename]) -> bool:
        """Tell whether `renames` lead every tensor of the file to where this proposal says."""
        before = resolve(self.keys, self.given)
        after = resolve(self.keys, self.given + Rules(renames=tuple(renames)))
        wanted: dict[str, str] = {}
        for pair in (*self.pairs, *self.same):
            leaves = {leaf: role for role, leaf in pair.leaves.items()} | {COUNTER: COUNTER}
            wanted |= {_join(pair.source, a): _join(pair.target, b) for a, b in leaves.items()}
        theirs = set(wanted.values())
        now = {key: name for name, key in after.sources.items()}
        others = (before.dropped, before.aliases, before.pieces)
        if after.clashes or others != (after.dropped, after.aliases, after.pieces):
            return False
        return all(
            now.get(key) == wanted[name]
            if name in wanted
            else now.get(key) == name or now.get(key) not in theirs
            for name, key in before.sources.items()
        )

    def to_rules(self) -> Rules:
        """Return the rules that it stands for, those given included; what is open is not in it."""
        made = tuple(Rename(match=one.match, to=one.to) for one in self.renames)
        return self.given + Rules(renames=made, aliases=self._aliases(made))

    def _aliases(self, renames: Iterable[Rename]) -> tuple[Alias, ...]:
        """Return the rules for second names; these have gone through `renames`."""
        found = []
        for path, target in self.aliases:
            name = f"{path}."
            for rename in renames:
                name = rename.apply(name)
            found.append(Alias(match="^" + name.replace(".", r"\."), to=f"{target}."))
        return tuple(found)

    def settled(self, chosen: Mapping[str, str], confidence: float, why: str) -> "Proposal":
        """Return it with these layers of the file paired; they were ambiguous."""
        leaves = self._leaves(chosen)
        added = [LayerPair(s, t, leaves[s], confidence, why) for s, t in chosen.items()]
        taken = set(chosen.values())
        left = {s: tuple(t for t in c if t not in taken) for s, c in self.ambiguous.items()}
        return replace(
            self,
            pairs=(*self.pairs, *(p for p in added if not p.is_plain)),
            same=(*self.same, *(p for p in added if p.is_plain)),
            ambiguous={s: c for s, c in left.items() if s not in chosen and c},
            unmatched=(*self.unmatched, *(s for s, c in left.items() if s not in chosen and not c)),
        )

    def tried(self, why: str) -> "Proposal":
        """Return it after a pass in which both nets gave the same: what was called is sure."""
        pairs = (
            replace(pair, confidence=1.0, why=f"{pair.why}; {why}")
            if pair.source in self.called[0] and pair.target in self.called[1]
            else replace(pair, why=f"{pair.why}; not called by itself in the trial")
            for pair in self.pairs
        )
        return replace(self, pairs=tuple(pairs))

    def _leaves(self, paths: Iterable[str]) -> dict[str, dict[str, str]]:
        leaves: dict[str, dict[str, str]] = {path: {} for path in paths}
        for name in resolve(self.keys, self.given).sources:
            path, _, leaf = name.rpartition(".")
            if path in leaves and leaf != COUNTER:
                leaves[path][ROLES.get(leaf, leaf)] = leaf
        return leaves

    def to_yaml(self, *remarks: str) -> str:
        """Return it as a rules file; `remarks` stand at its top, what is open as comments."""
        return _text(self, remarks)


def _text(proposal: Proposal, remarks: Sequence[str]) -> str:
    """Return the text of a rules file; each rename says how sure it is and why."""
    renames = proposal.renames
    whole = proposal.to_rules().model_dump(mode="json", exclude_defaults=True)
    given = proposal.given.model_dump(mode="json", exclude_defaults=True).get("renames", [])
    remarks = [*remarks, *([] if proposal.accepts(_as_rules(renames)) else [phrase(_CLASH)])]
    lines = [
        f"# {phrase(_HEAD)}",
        *(f"# {line}" for remark in remarks for line in remark.splitlines()),
        f"# {counts(proposal)}.",
        "renames:" if renames or given else "renames: []",
    ]
    for rename in given:
        lines += [f"  # {phrase('as given')}", *_lines(rename["match"], rename["to"])]
    for made in renames:
        lines += [f"  # {told(made)}", *_lines(made.match, made.to)]
    lines += _open(proposal, renames)
    rest = {name: value for name, value in whole.items() if name != "renames"}
    text = "\n".join(lines) + "\n"
    return text + yaml.safe_dump(rest, sort_keys=False, allow_unicode=True) if rest else text


def counts(proposal: Proposal) -> str:
    """Say how much is paired, by how many rules, how sure these are, and what is open."""
    renames = proposal.renames
    levels = Counter(level(made.confidence) for made in renames)
    words = [word for word in (*LEVELS, DOUBTFUL) if levels[word]]
    named = comma().join(phrase(f"{{count}} {word}", count=levels[word]) for word in words)
    count = len(renames)
    rules = phrase("1 rule") if count == 1 else phrase("{count} rules", count=count)
    rules = phrase("{rules} ({levels})", rules=rules, levels=named) if named else rules
    return phrase(
        "{pairs} layers of other names are paired by {rules}, {same} have the same name, {open} "
        "are ambiguous, {file} of the file and {net} of the net without a partner",
        pairs=len(proposal.pairs),
        rules=rules,
        same=len(proposal.same),
        open=len(proposal.ambiguous),
        file=len(proposal.unmatched),
        net=len(proposal.unfilled),
    )


def level(confidence: float) -> str:
    """Return how sure a confidence of 0 to 1 is, in words."""
    return next((word for word, least in LEVELS.items() if confidence >= least), DOUBTFUL)


def told(made: ProposedRename) -> str:
    """Say how sure a rename is, how many layers it serves, and why."""
    least = min(made.pairs, key=lambda pair: pair.confidence)
    count = len(made.pairs)
    layers = phrase("{count} layers, ", count=count) if count > 1 else ""
    named = f"{least.source}: " if count > 1 else ""
    return phrase(
        "{level} ({layers}{score}): {why}",
        level=phrase(level(made.confidence)),
        layers=layers,
        score=f"{made.confidence:.2f}",
        why=named + said(least.why),
    )


def _open(proposal: Proposal, renames: Sequence[ProposedRename]) -> list[str]:
    """Return what is open as comments: of a choice, the rename to take, by the name it then has."""
    lines = []
    taken: set[str] = set()
    for source, found in proposal.ambiguous.items():
        name = _renamed(source, renames)
        candidates = sorted(found, key=lambda path: (-_shared(path, name), path in taken))
        taken.add(candidates[0])
        listed = ", ".join(candidates[:_LISTED]) + (" ..." if len(candidates) > _LISTED else "")
        words = phrase("ambiguous: {name} may be {names}", name=source or ROOT, names=listed)
        lines.append(f"  # {words}")
        if source in proposal.doubts:
            lines.append(f"  #   {said(proposal.doubts[source])}")
        lines += _to_take(name, f"{candidates[0]}.")
    for path in proposal.unmatched:
        lines.append(f"  # {phrase('no partner in the net: {path}', path=path or ROOT)}")
        if path in proposal.but_for_bias:
            target = proposal.but_for_bias[path]
            lines.append(f"  #   {phrase('but for a bias it is {path}', path=target or ROOT)}")
            lines += _to_take(_renamed(path, renames), f"{target}.")
    for path in proposal.unfilled:
        lines.append(f"  # {phrase('no partner in the file: {path}', path=path or ROOT)}")
    return lines


def _renamed(path: str, renames: Sequence[ProposedRename]) -> str:
    """Return how the names of a layer of the file begin once the renames are applied."""
    name = f"{path}."
    for made in renames:
        name = re.sub(made.match, made.to, name)
    return name


def _to_take(name: str, target: str) -> list[str]:
    """Return the rename of one name to another as a comment, nothing where they are equal."""
    if name == target:
        return []
    match = "^" + name.replace(".", r"\.")
    return ["  #" + line[1:] for line in _lines(match, target)]


def _shared(path: str, name: str) -> int:
    """Return how many parts two names begin with alike: layers of one block have one."""
    alike = zip(path.split("."), name.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda parts: parts[0] == parts[1], alike))


def _as_rules(renames: Sequence[ProposedRename]) -> list[Rename]:
    return [Rename(match=one.match, to=one.to) for one in renames]


def _lines(match: str, to: str) -> list[str]:
    quoted = [text.replace("'", "''") for text in (match, to)]
    return [f"  - match: '{quoted[0]}'", f"    to: '{quoted[1]}'"]


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
