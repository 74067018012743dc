"""Keeps how the user laid a call out over several lines, where the spelling has the same parts."""

import ast
from collections.abc import Collection
from typing import Any

from port.calls import TorchCall
from port.write.parts import PartWriter


def matched(rewriter: PartWriter, node: ast.Call, call: TorchCall, text: str) -> str:
    """Return `text`, laid out as the user laid out `node` where that took several lines.

    That is where the spelling is a call whose arguments are those of the user, in their order:
    renamed, changed, or left out.
    """
    if node.lineno == node.end_lineno:
        return text
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.Call):
        return text
    old: list[Any] = [*node.args, *node.keywords]
    new: list[Any] = [*tree.args, *tree.keywords]
    pairs = _paired(call, old, new, text)
    if not pairs:
        return text
    laid_out = _laid_out(rewriter, node, ast.unparse(tree.func), pairs)
    return laid_out if _means(laid_out, tree) else text


def _means(text: str, tree: ast.Call) -> bool:
    """Tell whether a text is the call that it should be."""
    try:
        made = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return False
    return ast.dump(made) == ast.dump(tree)


def _paired(
    call: TorchCall, old: list[Any], new: list[Any], text: str
) -> list[tuple[Any, str]] | None:
    """Return (the user's argument, its new text) of those that stay, None where they differ."""
    if len(new) > len(old) or len(call.arguments) != len(old):
        return None
    if len(new) == len(old):
        texts = [ast.get_source_segment(text.strip(), one) or "" for one in new]
        return list(zip(old, texts, strict=True))
    given = list(zip(old, call.arguments, strict=True))
    found, place = [], 0
    for one in new:
        written = ast.get_source_segment(text.strip(), one) or ""
        value = one.value if isinstance(one, ast.keyword) else one
        inner = ast.get_source_segment(text.strip(), value) or ""
        while place < len(given) and not _is_same(given[place][1].text, inner):
            place += 1
        if place == len(given):
            return None
        found.append((given[place][0], written))
        place += 1
    return found


def _is_same(user: str, written: str) -> bool:
    return user.strip() == written.strip() or written.strip(" ()") == user.strip(" ()")


def _laid_out(rewriter: PartWriter, node: ast.Call, function: str, pairs: list) -> str:
    source = rewriter.source
    start = rewriter.extent(node.func)[1]
    end = source.extent(node)[1]
    old: list[Any] = [*node.args, *node.keywords]
    kept = {id(one): text for one, text in pairs}
    pieces, place, mark = [function], start, 1
    for number, one in enumerate(old):
        first, last = rewriter.extent(one)
        between = source.text[place:first].decode("utf-8")
        if id(one) in kept:
            pieces += [between, kept[id(one)]]
            place, mark = last, len(pieces)
        else:
            following = rewriter.extent(old[number + 1])[0] if number + 1 < len(old) else end - 1
            comma = source.text[last:following].decode("utf-8")
            pieces.append(between)
            place = following if "#" not in comma else last
    if id(old[-1]) not in kept and "#" not in "".join(pieces[mark:]):  # its line goes, too
        del pieces[mark:]
        place = rewriter.extent(old[-1])[1]
    pieces.append(source.text[place:end].decode("utf-8"))
    return "".join(pieces)


def without_entries(rewriter: PartWriter, node: ast.Dict, off: Collection[ast.expr]) -> str:
    """Return the text of a table without some of its values and their keys."""

    def between(start: int, end: int) -> str:
        return rewriter.source.text[start:end].decode("utf-8")

    begin, end = rewriter.extent(node)
    last = begin
    pieces: list[str] = []
    for key, value in zip(node.keys, node.values, strict=True):
        first = rewriter.extent(key or value)[0]
        if value not in off:
            if pieces:
                pieces.append(between(last, first))
            if key is not None:
                pieces.append(rewriter.text(key))
                pieces.append(between(rewriter.extent(key)[1], rewriter.extent(value)[0]))
            pieces.append(rewriter.text(value))
        last = rewriter.extent(value)[1]
    opening = between(begin, rewriter.extent(node.keys[0] or node.values[0])[0])
    return f"{opening}{''.join(pieces)}{between(last, end)}"
