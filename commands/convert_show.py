"""What `convert_weights` prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from align.judge.words import Words, listed, printed
from common.terminal import labelled, screen, verdict
from common.words.controls import in_one_line
from common.words.language import phrase, said


def account(account: Any, unverified: str, quiet: bool = False, then: str = "") -> None:
    """Print the account's head: what was found, totals, what was dropped, proof, output.

    `quiet`: the verdict alone, and what makes it less than a proof. `then` is the next command,
    printed where the nets were not run: what shows that they compute the same, if anything can.
    """
    console = screen()
    if not quiet:
        _head(console, account)
        _proof(console, account.verification, unverified)
        _output(console, account.output)
        _row(console, "account", account.output["account"])
    if not account.verification:
        for note in account.notes if quiet else ():
            _row(console, "NOTE", said(note))
        # Without the sign and colour of a proof.
        console.print(printed(result(account, unverified)))
        _row(console, "next", then)
        return
    verdict(console, 0, printed(result(account, unverified)))


LABEL = 11  # columns


def _row(console: Any, label: str, text: object) -> None:
    """Print a label of the table of phrases and what it labels."""
    (line,) = labelled([(phrase(label), in_one_line(str(text)))], LABEL)
    console.print(line)


def result(account: Any, unverified: str) -> Words:
    """Return what the conversion came to, in one line."""
    proof = account.verification
    if not proof:
        why = Words.told(unverified)
        return Words("converted_not_verified", moved=moved(account.totals), why=why)
    return Words("converted", moved=moved(account.totals), worst=proof["worst"])


CHANGES = {"transposed": "transposed_count", "left at initialisation": "left_at_initialisation"}


def moved(totals: Mapping[str, int]) -> Words:
    """Return how many tensors became what; `totals` are an account's."""
    said = [Words(CHANGES.get(what, what), count=n) for what, n in totals.items() if n]
    return listed(said) if said else Words.told("no tensor")


def _head(console: Any, account: Any) -> None:
    from rich.table import Table

    net, source = account.net, account.source
    console.print(f"{source['path']}: {_net(net)}")
    _row(console, "found as", said(source["found_as"]))
    if net.get("into"):
        _row(console, "into", net["into"])
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    for name, count in account.totals.items():
        if count:
            table.add_row(str(count), phrase(name))
    console.print(table)
    for reason, keys in account.dropped_by_reason.items():
        shown = f"{keys[0]}{', ...' * (len(keys) > 1)}"
        text = {"count": len(keys), "reason": said(reason), "keys": shown}
        _row(console, "dropped", phrase("{count}: {reason} ({keys})", **text))
    for key in account.left_at_initialisation:
        console.print(f"{phrase('left at initialisation')}  {key}")
    for note in account.notes:
        _row(console, "NOTE", said(note))
    for key, count in account.not_finite.items():
        _row(console, "NOT FINITE", phrase("{key}: {count} values", key=key, count=count))


def _net(net: Any) -> str:
    if net["row"] is None:
        return net["layer"] or phrase("layers inferred from the file")
    options = ", ".join(f"{name}={value}" for name, value in net["options"].items())
    return f"{net['row']} ({options})"


def _proof(console: Any, proof: Any, unverified: str) -> None:
    if not proof:
        _row(console, "verified", phrase("no ({why})", why=said(unverified)))
        return
    text = phrase(
        "largest difference {worst} of the largest value, allowed {allowed} (float64, input "
        "{shape}, {count} outputs)",
        worst=f"{proof['worst']:.1e}",
        allowed=f"{proof['allowed']:.0e}",
        shape="x".join(map(str, proof["input_shape"])),
        count=len(proof["differences"]),
    )
    _row(console, "verified", text)


def _output(console: Any, output: Any) -> None:
    text = phrase("{path} ({bytes} bytes)", path=output["path"], bytes=f"{output['bytes']:,}")
    _row(console, "output", text)
    if output["sha256"]:
        _row(console, "SHA-256", output["sha256"])


def table(account: Any, file: TextIO) -> None:
    """Print a row for every tensor of the file, then for the net's that it does not fill."""
    from rich.table import Table

    heads = ("in the file", "shape", "dtype", "became", "in the net, or why")
    shown = Table(*map(phrase, heads), box=None)
    for row in account.source_tensors:
        to = ", ".join((row.to or "", *row.also)) if row.reason is None else said(row.reason)
        shown.add_row(row.key, str(row.shape), row.dtype, phrase(row.became), to)
    for row in account.target_tensors:
        if row.source is None:
            why = f"{row.key}: {said(row.reason)}" if row.reason else row.key
            shown.add_row("-", str(row.shape), row.dtype, phrase(row.change), why)
    screen(file).print(shown)


def reversal(made: Any) -> None:
    """Print what the way back gave."""
    console = screen()
    count = len(made.state)
    _row(console, "tensors", phrase("{count}, by the {by}", count=count, by=said(made.by)))
    if made.ties:
        ties = phrase("{count} names of tensors that are one", count=len(made.ties))
        _row(console, "tied", ties)
    for name in made.missing:
        _row(console, "missing", name)
    for note in made.notes:
        _row(console, "NOTE", said(note))
    _output(console, made.output)


def proposal(found: Any, path: Path) -> None:
    """Print how many layers were paired by how many rules, and what is open."""
    console = screen()
    paired = {"count": len(found.pairs), "rules": len(found.renames)}
    text = phrase("{count} layers whose names differ, by {rules} rules", **paired)
    _row(console, "paired", text)
    _row(console, "ambiguous", len(found.ambiguous))
    open_ends = {"file": len(found.unmatched), "net": len(found.unfilled)}
    _row(console, "unmatched", phrase("{file} of the file, {net} of the net", **open_ends))
    read = phrase("{path}: read it, correct it, then give it as --map", path=path)
    _row(console, "rules", read)
    if found.ambiguous:
        more = phrase(
            "align_forward --torch ... --input-shape ... --propose runs both nets, pairs by the "
            "order of their calls too, and tries the rules"
        )
        _row(console, "more", more)
