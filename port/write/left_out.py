"""What stands in the port for code that is left out: a line that raises, or less code."""

import ast

from common.processes.gradient_checkpoints import runs_again
from port.cut.cut import shell
from port.meanings import value_spelled
from port.write.gaps import Gap
from port.write.owners import is_torchs
from port.write.parts import PartWriter

SILENT = "not_here"
_FUNCTIONS = ("torch.autograd.Function", "torch.autograd.function.Function")
_NOTE = (
    "the reference's own gradient checkpointing saves memory and computes the same: its code runs "
    "once here; paddle.distributed.fleet.utils.recompute runs it again"
)
# Of a layer: what code around a net asks by these names is all that the layer holds.
_ASKED = frozenset(
    [
        *("parameters", "named_parameters", "buffers", "named_buffers", "modules"),
        *("named_modules", "children", "named_children", "state_dict", "load_state_dict"),
    ]
)


class LeftOutWriter:
    """Writes one file's blocks that did not run, and its classes that nobody made."""

    def __init__(self, rewriter: PartWriter) -> None:
        self.rewriter = rewriter

    def block(self, first: ast.stmt, last: ast.stmt) -> str:
        """Write one line for a block that did not run and needs what is not in the port."""
        lines = f"lines {first.lineno} to {last.end_lineno}"
        return self._raising(first, lines, "did not run, and need what was left out")

    def unmade_class(self, node: ast.ClassDef) -> str:
        """Write the shell of a class that the net has none of: something names it."""
        one = self.rewriter
        indent = " " * (node.col_offset + 4)
        base = one.take(node, value_spelled(("torch.nn.Module",), True))
        raising = self._raising(node, f"class {node.name}", "was not made, and was left out")
        lines = [f"class {node.name}({base}):", *(indent + one.text(part) for part in shell(node))]
        lines += ["", f"{indent}def __init__(self, *args, **kwargs):", f"{indent}    {raising}"]
        return "\n".join(lines)

    def _raising(self, node: ast.stmt, what: str, reason: str) -> str:
        """Return the line, and note what is not here."""
        where, needs = self.rewriter.where(node), self.rewriter.needs
        gap = Gap(where, what, reason, False)
        if gap not in needs.gaps:  # a text may be asked for more than once
            needs.gaps.append(gap)
        needs.helpers.add(SILENT)
        return f'{SILENT}("{where.file.name}:{where.line}")'


def note_left_out(writer: PartWriter, node: ast.FunctionDef) -> None:
    """Note a method that did not run, where the port's class has another one by its name."""
    if node.name in _ASKED and isinstance(writer.source.parents.get(node), ast.ClassDef):
        note = (
            f"its own `{node.name}` did not run and is left out: the port's, which an optimizer or "
            "a checkpoint may ask, is Paddle's, of all that the layer holds"
        )
        writer.needs.notes.append((writer.where(node), note))


def run_once(writer: PartWriter, node: ast.ClassDef) -> str | None:
    """Return a class whose `apply` calls the function; None for what is no checkpoint."""
    bounds = [writer.source.resolve(base) for base in node.bases]
    torchs = [bound for bound in bounds if bound is not None and is_torchs(bound)]
    parameters = runs_again(node)
    if parameters is None or len(node.bases) != 1 or node.decorator_list:
        return None
    if not any(name in _FUNCTIONS for bound in torchs for name in bound.names):
        return None
    function, *length, rest = parameters.split(", ")
    given = f"*{rest[1:]}[:{length[0]}]" if length else rest
    writer.needs.notes.append((writer.where(node), _NOTE))
    lines = [
        f"class {node.name}:",
        "    @staticmethod",
        f"    def apply({parameters}):",
        f"        return {function}({given})",
    ]
    return ("\n" + " " * node.col_offset).join(lines)
