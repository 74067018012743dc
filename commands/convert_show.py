"""What `convert_weights` prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from align.judge.words import Words, listed
from common.terminal import screen, verdict


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
        console.print(f"account    {account.output['account']}")
    if not account.verification:
        for note in account.notes if quiet else ():
            console.print(f"NOTE       {note}")
        console.print(result(account, unverified))  # without the sign and colour of a proof
        console.print(f"next       {then}")
        return
    verdict(console, 0, result(account, unverified))


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
    console.print(f"found as   {source['found_as']}")
    if net.get("into"):
        console.print(f"into       {net['into']}")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    for name, count in account.totals.items():
        if count:
            table.add_row(str(count), name)
    console.print(table)
    for reason, keys in account.dropped_by_reason.items():
        console.print(f"dropped    {len(keys)}: {reason} ({keys[0]}{', ...' * (len(keys) > 1)})")
    for key in account.left_at_initialisation:
        console.print(f"left at initialisation  {key}")
    for note in account.notes:
        console.print(f"NOTE       {note}")
    for key, count in account.not_finite.items():
        console.print(f"NOT FINITE {key}: {count} values")


def _net(net: Any) -> str:
    if net["row"] is None:
        return net["layer"] or "layers inferred from the file"
    options = ", ".join(f"{name}={value}" for name, value in net["options"].items())
    return f"{net['row']} ({options})"


def _proof(console: Any, proof: Any, unverified: str) -> None:
    if not proof:
        console.print(f"verified   no ({unverified})")
        return
    shape = "x".join(map(str, proof["input_shape"]))
    console.print(
        f"verified   largest difference {proof['worst']:.1e} of the largest value, allowed "
        f"{proof['allowed']:.0e} (float64, input {shape}, {len(proof['differences'])} outputs)"
    )


def _output(console: Any, output: Any) -> None:
    console.print(f"output     {output['path']} ({output['bytes']:,} bytes)")
    if output["sha256"]:
        console.print(f"SHA-256    {output['sha256']}")


def table(account: Any, file: TextIO) -> None:
    """Print a row for every tensor of the file, then for the net's that it does not fill."""
    from rich.table import Table

    shown = Table("in the file", "shape", "dtype", "became", "in the net, or why", box=None)
    for row in account.source_tensors:
        to = ", ".join((row.to or "", *row.also)) if row.reason is None else row.reason
        shown.add_row(row.key, str(row.shape), row.dtype, row.became, to)
    for row in account.target_tensors:
        if row.source is None:
            why = f"{row.key}: {row.reason}" if row.reason else row.key
            shown.add_row("-", str(row.shape), row.dtype, row.change, why)
    screen(file).print(shown)


def reversal(made: Any) -> None:
    """Print what the way back gave."""
    console = screen()
    console.print(f"tensors    {len(made.state)}, by the {made.by}")
    if made.ties:
        console.print(f"tied       {len(made.ties)} names of tensors that are one")
    for name in made.missing:
        console.print(f"missing    {name}")
    for note in made.notes:
        console.print(f"NOTE       {note}")
    _output(console, made.output)


def proposal(found: Any, path: Path) -> None:
    """Print how many layers were paired by how many rules, and what is open."""
    console, renames = screen(), found.renames
    rules = f"{len(renames)} rule{'s' * (len(renames) != 1)}"
    console.print(f"paired     {len(found.pairs)} layers whose names differ, by {rules}")
    console.print(f"ambiguous  {len(found.ambiguous)}")
    console.print(
        f"unmatched  {len(found.unmatched)} of the file, {len(found.unfilled)} of the net"
    )
    console.print(f"rules      {path}: read it, correct it, then give it as --map")
    if found.ambiguous:
        console.print(
            "more       align_forward --torch ... --input-shape ... --propose runs both nets, "
            "pairs by the order of their calls too, and tries the rules"
        )
