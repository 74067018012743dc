"""State dicts that a net makes or changes itself, and loads: in torch's names and order."""

import ast
from collections.abc import Iterator

from port.calls import Spelled
from port.record.facts import SeenCall
from port.record.instrument import span_of
from port.source import Source
from port.write.parts import PartWriter

_STATE, _LOAD = "torch.nn.Module.state_dict", "torch.nn.Module.load_state_dict"
_DICTS = ("dict", "OrderedDict", "collections.OrderedDict", "deepcopy", "copy.deepcopy")


def own_state(writer: PartWriter, node: ast.Call) -> str | None:
    """Write the calls that read and load a state dict which the function around makes itself.

    None of others, such as one that was read from a file: that is Paddle's, of the port's weights.
    """
    name = _name(writer.source, node)
    function = writer.source.function_around(node)
    if not name or function is None or not isinstance(node.func, ast.Attribute):
        return None
    if not _Function(writer.source, function).makes_what_it_loads():
        return None
    owner = writer.text(node.func.value)
    helper = "state_of" if name == _STATE else "load_state_of"
    rest = [writer.text(one) for one in node.args]
    rest += [f"{one.arg}={writer.text(one.value)}" for one in node.keywords if one.arg != "assign"]
    given = [owner, *(rest if name == _LOAD else [])]
    text = f"{helper}({', '.join(given)})"
    return writer.take(node, Spelled(text, helpers=frozenset({helper})))


def _name(source: Source, node: ast.Call) -> str:
    """Return which of both methods a call is of, "" for another."""
    seen: list[SeenCall] = source.record.calls.get(span_of(node), [])
    return next((name for name in (_STATE, _LOAD) if any(name in one.names for one in seen)), "")


class _Function:
    """A function, and where the state dicts come from that it loads."""

    def __init__(self, source: Source, function: ast.AST) -> None:
        self.source, self.inside = source, list(ast.walk(function))
        self.made = False  # here, or changed
        self.asked: set[str] = set()

    def makes_what_it_loads(self) -> bool:
        """Tell whether it makes or changes a state dict, and loads none from elsewhere."""
        calls = [one for one in self.inside if isinstance(one, ast.Call)]
        loads = [one for one in calls if _name(self.source, one) == _LOAD and one.args]
        known = [self._is_own(one.args[0]) for one in loads]
        return bool(known) and all(known) and self.made

    def _is_own(self, node: ast.expr) -> bool:
        """Tell whether a state dict begins as a layer's or as none; note where it is changed."""
        if isinstance(node, ast.Dict):
            self.made = True
            return all(key is not None or self._is_own(v) for key, v in _items(node))
        if isinstance(node, ast.DictComp):
            return self._is_own(node.generators[0].iter)
        if isinstance(node, ast.Name):
            return self._is_own_name(node.id)
        if not isinstance(node, ast.Call):
            return False
        if ast.unparse(node.func) in _DICTS:
            self.made = self.made or not node.args
            return all(map(self._is_own, node.args))
        if _name(self.source, node) == _STATE:
            return True
        same = isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "copy")
        return same and self._is_own(node.func.value)  # type: ignore[attr-defined]  # an attribute

    def _is_own_name(self, name: str) -> bool:
        if name in self.asked:
            return True
        self.asked.add(name)
        values = list(self._values(name))
        self.made = self.made or any(_is_changed(one, name) for one in self.inside)
        return bool(values) and all(map(self._is_own, values))

    def _values(self, name: str) -> Iterator[ast.expr]:
        """Yield what a name is set to, and what it is updated with."""
        for one in self.inside:
            if isinstance(one, ast.Assign) and name in map(ast.unparse, one.targets):
                yield one.value
            elif isinstance(one, ast.Call) and ast.unparse(one.func) == f"{name}.update":
                yield from one.args


def _items(node: ast.Dict) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    return zip(node.keys, node.values, strict=True)


def _is_changed(node: ast.AST, name: str) -> bool:
    """Tell whether a node is `name[key] = value`."""
    into = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    return into and ast.unparse(node.value) == name  # type: ignore[attr-defined]  # a subscript
