"""What stands in the port for code of a library that the net does not use: a line that raises."""

import ast

from port.cut.cut import shell
from port.meanings import value_spelled
from port.write.gaps import Gap
from port.write.parts import PartWriter

SILENT = "not_here"


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
