"""What statements at the top of a file do to things of other files: patches, registries, set-up."""

import ast

from port.source import FUNCTIONS, Source, inside_of


def patched(source: Source, statement: ast.stmt) -> set[str]:
    """Return the names of the user's modules and classes that a statement writes into.

    `net.backbone = smaller`, of what was imported; what is torch's, or nobody's, is left alone.
    """
    found = set()
    for target in statement.targets if isinstance(statement, ast.Assign) else ():
        owner = source.resolve(target.value) if isinstance(target, ast.Attribute) else None
        if owner is None or owner.kind not in ("module", "thing"):
            continue
        if owner.value.partition(":")[0] in source.files:
            found |= root_name(target)
    return found


def filled(source: Source, statement: ast.stmt) -> set[str]:
    """Return the names of registries of other files that a statement fills by a method of theirs.

    `MODELS.register_module("Conv", module=nn.Conv2d)`, in a loop or a branch, too.
    """
    if isinstance(statement, FUNCTIONS | ast.ClassDef):
        return set()
    parts = (statement, *inside_of(statement))
    calls = [node.value for node in parts if isinstance(node, ast.Expr)]
    found = set_up(source, statement)
    owners = [one.func for one in calls if isinstance(one, ast.Call)]
    names = {name for one in owners if isinstance(one, ast.Attribute) for name in root_name(one)}
    theirs = {
        alias.asname or alias.name
        for node in source.tree.body
        if isinstance(node, ast.ImportFrom) and source.imported_module(node) in source.files
        for alias in node.names
    }
    held = source.record.names
    return found | {one for one in names & theirs if one not in held or held[one].kind == "other"}


def set_up(source: Source, statement: ast.stmt) -> set[str]:
    """Return the name of the function that a user's file calls at its top: `register_all()`.

    What it gives are numbers and words; a class that is given is looked at by itself.
    """
    call = statement.value if isinstance(statement, ast.Expr) else None
    if source.record.library or not isinstance(call, ast.Call):
        return set()
    given = (*call.args, *(one.value for one in call.keywords))
    if not all(isinstance(one, ast.Constant) for one in given):
        return set()
    called = source.resolve(call.func)
    known = called is not None and called.kind == "thing"
    ported = known and called.value.partition(":")[0] in source.files  # type: ignore[union-attr]
    return {call.func.id} if ported and isinstance(call.func, ast.Name) else set()


def root_name(node: ast.AST) -> set[str]:
    """Return the name that a chain begins with, as a set of one; none of another expression."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
