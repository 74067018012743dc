"""Findings as a reader meets them: those of one line of source with one cause are one entry.

Reports, their `divergences`, counts and files keep each finding; this is for screens and pages.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from align.judge.comparison import Comparison
from align.judge.words import OPTIMIZER, TOLD, Words, first_of, printed
from align.report.mends import Mend, key_of, mends
from align.report.report import Divergence, Report, subject
from align.report.sources import short_source

Finding = Comparison | Divergence
NAMED = 3  # layers of a group that are named before the rest is folded


@dataclass
class Group:
    """What one line of source and one cause explain: one entry for each layer, in their order."""

    mends: list[Mend]

    @property
    def first(self) -> Mend:
        """The layer that stands for all."""
        return self.mends[0]

    @property
    def count(self) -> int:
        """The number of comparisons in all layers."""
        return sum(1 + mend.others for mend in self.mends)

    @property
    def source(self) -> str:
        """The line of the port's source that the layers share, "" where it is not known."""
        return short_source(self.first.paddle_user or self.first.paddle_source)

    @property
    def words(self) -> Words:
        """Say how many layers and comparisons these are, and where; the first ones by name.

        "" where it is one layer.
        """
        if self.first.layer == OPTIMIZER and len(self.first.layers) > 1:
            layers = self.first.layers
            said = {"layers": len(layers), "count": self.count, "names": first_of(layers, NAMED)}
            return Words("shown_by_updates", **said)
        if len(self.mends) == 1:
            return Words.told("")
        names = first_of([mend.layer or "(root)" for mend in self.mends], NAMED)
        said = {"layers": len(self.mends), "count": self.count, "names": names}
        if not self.source:
            return Words("same_cause_in", **said)
        return Words("same_line_in", source=self.source, **said)


def grouped(mends: Sequence[Mend]) -> list[Group]:
    """Return the entries that have one line of source and one cause together, in their order.

    Where no cause is known, entries are together that run the same code of a user's, or the layer
    of one name in it.
    """
    found: dict[object, Group] = {}
    for mend in mends:
        found.setdefault(_key(mend), Group([])).mends.append(mend)
    return list(found.values())


def _key(mend: Mend) -> object:
    if mend.layer == OPTIMIZER:
        return mend.layer, mend.cause
    line = mend.paddle_user or mend.paddle_source
    if not line:
        # First weights have no line: those of one law that should be of one other are one entry.
        first: object = mend.cause
        while isinstance(first, Words) and first.kind == "also":
            first = first.values["first"]
        laws = isinstance(first, Words) and first.has("drawn_otherwise", "drawn_otherwise_alone")
        return _kinds(first) if laws else mend.layer
    where = mend.worst.where if mend.cause is None else ""
    inside = "" if mend.cause else mend.inside
    said = mend.cause if mend.paddle_user else _kinds(mend.cause)
    return (line, mend.torch_user or mend.torch_source, mend.torch_class, inside, where, said)


def _kinds(cause: object) -> object:
    """Return what a cause is made of, whatever its numbers are; of a user's code one line."""
    if not isinstance(cause, Words) or cause.kind == TOLD:
        return cause
    return tuple(part.kind for part in cause.parts())


class Groups:
    """The groups of one report, asked by a finding of them."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._of = {key_of(mend.first): group for group in groups for mend in group.mends}

    def is_folded(self, finding: Finding) -> bool:
        """Tell whether another layer, or an earlier finding of the optimizer, stands for this."""
        group = self._of.get(key_of(finding))
        if subject(finding) == OPTIMIZER:
            return group is None or group.first.first is not finding
        return group is not None and group.first.layer != finding.layer

    def shared(self, finding: Finding, words: Callable[[Words], str] = printed) -> str:
        """Return the line that follows the findings of a layer that stands for others, else ""."""
        group = self._of.get(key_of(finding))
        return words(group.words) if group else ""

    def lines(
        self,
        findings: Iterable[Finding],
        say: Callable[[Any], str],
        words: Callable[[Words], str] = printed,
    ) -> list[list[str]]:
        """Return what `say` makes of each finding; of a group the first, and a line of all.

        `words` makes the text of that line: `printed` in the user's language, `str` in English.
        """
        found, told = [], set()
        for finding in findings:
            shared = self.shared(finding, words)
            group = id(self._of[key_of(finding)]) if shared else 0
            if group in told:
                continue
            found.append([say(finding), shared] if shared else [say(finding)])
            told |= {group} if shared else set()
        return found


def in_groups(report: Report, verdict: str) -> Groups:
    """Return the groups of what differs, or of what is `UNCHECKED`, in one report."""
    return Groups(grouped(mends([report], [report.stage], verdict)))
