"""Which layer of the port stands for which module of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convert.plan.move import Move


@dataclass(frozen=True)
class Pairing:
    """Modules matched by path; a module shared in several places matches under any of its paths.

    Where one side shares what the other keeps apart, all of them form one group, and their calls
    are matched in the order in which they happen. Keys are first paths.

    `moves` are the port's tensors that stand elsewhere in the reference than their layer's partner
    says (a query projection in a packed one); `dropped` and `absent` are tensors of the reference
    and of the port that the rules say the other side lacks, with the reason. `layouts` tells of
    the port's matrices whether the reference holds them the other way round, where that is not
    what the layer's kind says. `by_content` are groups of containers whose names say nothing: they
    hold just the same layers, and where their code begins and ends is a guess.
    """

    reference_group: Mapping[str, int]
    port_group: Mapping[str, int]
    moves: Mapping[str, "Move"] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, bool] = field(default_factory=dict)
    by_content: frozenset[int] = frozenset()

    @property
    def partners(self) -> dict[str, str]:
        """Return {path in the port: path in the reference}, for groups of any size."""
        reference = {group: path for path, group in reversed(list(self.reference_group.items()))}
        return {path: reference[group] for path, group in self.port_group.items()}

    def only(self, ports: set[str]) -> "Pairing":
        """Return the pairing of these layers of the port alone."""
        port_group = {path: group for path, group in self.port_group.items() if path in ports}
        groups = set(port_group.values())
        return replace(
            self,
            reference_group={p: g for p, g in self.reference_group.items() if g in groups},
            port_group=port_group,
            moves={k: m for k, m in self.moves.items() if k.rpartition(".")[0] in ports},
        )

    def without(self, groups: set[int]) -> "Pairing":
        """Return the pairing with these groups taken apart: their modules become glue."""
        return replace(
            self,
            reference_group={p: g for p, g in self.reference_group.items() if g not in groups},
            port_group={p: g for p, g in self.port_group.items() if g not in groups},
        )


def pair_by_path(
    reference: Mapping[str, Sequence[str]], port: Mapping[str, Sequence[str]]
) -> Pairing:
    """Match modules that have a path in common; arguments are {first path: all paths}."""
    owners: dict[str, list[tuple[str, str]]] = {}
    for side, modules in (("reference", reference), ("port", port)):
        for first, paths in modules.items():
            for path in paths:
                owners.setdefault(path, []).append((side, first))
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def find(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for nodes in owners.values():
        if len(nodes) == 2:
            parent[find(nodes[0])] = find(nodes[1])
    groups: dict[tuple[str, str], int] = {}

    def group_of(side: str, modules: Mapping[str, Sequence[str]]) -> dict[str, int]:
        return {
            first: groups.setdefault(find((side, first)), len(groups))
            for first in modules
            if (side, first) in parent
        }

    return Pairing(group_of("reference", reference), group_of("port", port))
