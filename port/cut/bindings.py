"""Which statements at the top of a file bind or write into which names."""

import ast

from port.cut.prepared import filled, patched, root_name
from port.source import FUNCTIONS, Source


def bindings(source: Source) -> dict[str, list[ast.stmt]]:
    """Return the statements at the top of a file by the names that they bind or write into."""
    found: dict[str, list[ast.stmt]] = {}
    imports = (ast.Import, ast.ImportFrom)
    imported = {
        name for one in source.tree.body if isinstance(one, imports) for name in _bound_at_top(one)
    }
    imported -= {name for one in source.tree.body for name in _assigned(one)}  # now its own
    for statement in source.tree.body:
        if _is_main(statement):
            continue
        names = _bound_at_top(statement) - _of_other_branch(source, statement)
        if not isinstance(statement, imports):
            names -= _written(statement, imported) - patched(source, statement)
            names |= filled(source, statement)
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


def _assigned(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {one.id for one in targets if isinstance(one, ast.Name)}


def _of_other_branch(source: Source, statement: ast.stmt) -> set[str]:
    """Return the names that a library binds in branches that it did not take: for type checkers."""
    if not isinstance(statement, ast.If) or not source.record.library:
        return set()
    branches = [one for one in (statement.body, statement.orelse) if one]
    names = [{n for one in block for n in _bound_at_top(one)} for block in branches]
    ran = [found for block, found in zip(branches, names, strict=True) if source.ran(block)]
    return set().union(*names).difference(*ran)


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)


def _bound_at_top(statement: ast.stmt) -> set[str]:
    if isinstance(statement, FUNCTIONS | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names if alias.name != "*"}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, FUNCTIONS | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= _bound_at_top(node)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= root_name(node)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        found |= root_name(statement.value.func)  # TABLE.update(...), table.append(...)
    return found


def _written(statement: ast.stmt, imported: set[str]) -> set[str]:
    """Return the imported names that a statement only writes into or calls: `torch.x = True`."""
    stored = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    holds_import = any(
        isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(statement)
    )
    return set() if holds_import else imported - stored


def is_a_loaded_module(value: ast.expr) -> bool:
    """Tell whether an expression is `sys.modules[name]`."""
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) == "sys.modules"


def makes_up_names(function: ast.AST | None, source: Source) -> bool:
    """Tell whether a function is the `__getattr__` of a module that imports as it is asked."""
    owner = source.parents.get(function) if function is not None else None
    asked = getattr(function, "name", "") == "__getattr__" and isinstance(owner, ast.ClassDef)
    return asked and any(ast.unparse(base).endswith("ModuleType") for base in owner.bases)  # type: ignore[union-attr]
