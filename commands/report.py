"""The flow of `report`: the page of a run again, or two runs side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.entry import print_json
from common.streams import say
from common.words.language import phrase

# How a page and a JUnit XML of this program begin.
PAGE = (b"<!doctype html>", b' data-lang="', b'<meta http-equiv="Content-Security-Policy"')
CASES = (b"<?xml ", b"<testsuites ")


def rebuild_pages(options: argparse.Namespace) -> int:
    """Write the page of one run, or of two; return the exit code of the last."""
    from align.judge.words import Words, printed
    from align.report.read import read_run
    from align.report.write import write_junit, write_page
    from common.terminal import screen, verdict

    runs = [read_run(path) for path in options.files]
    if len(runs) == 2:
        return _side_by_side(options, *runs)
    (only,) = runs
    output = options.output or options.files[0].with_suffix(".html")
    _check([output, *([options.junit] if options.junit else [])], options)
    write_page(only, output)
    written = [output]
    if options.junit:
        write_junit(only, options.junit)
        written.append(options.junit)
    if options.json:
        print_json({"written": [str(path) for path in written], "exit_code": only.exit_code})
    else:
        _say_written(written, options.quiet)
        for rung in only.rungs:
            result = Words.told(rung.result)
            line = Words("rung_result", rung=Words.told(rung.name), result=result)
            verdict(screen(), rung.exit_code, printed(line))
    return only.exit_code


def _side_by_side(options: argparse.Namespace, before: Any, after: Any) -> int:
    from align.report.changes import GONE, MENDED, NEW, STILL, compare_runs
    from align.report.html.page import render_comparison
    from common.documents import plain, write_text
    from common.errors import UserError
    from common.terminal import screen, verdict

    if options.junit:
        raise UserError("--junit takes one run; give it the second file alone")
    stem = f"{options.files[0].stem}-{options.files[1].stem}.html"
    output = options.output or options.files[1].with_name(stem)
    _check([output], options)
    write_text(output, render_comparison(before, after))
    changes = compare_runs(before, after)
    found = {
        status: [str(change) for change in changes if change.status == status]
        for status in (MENDED, NEW, STILL, GONE)
    }
    if options.json:
        print_json(plain({"written": [str(output)], "exit_code": after.exit_code, **found}))
        return after.exit_code
    _say_written([output], options.quiet)
    if not options.quiet:
        for status, lines in found.items():
            for line in lines:
                say(f"- {phrase(status)}: {line}")
    counts = ", ".join(
        phrase("{count} {kind}", count=len(lines), kind=phrase(status))
        for status, lines in found.items()
    )
    verdict(screen(), after.exit_code, counts)
    return after.exit_code


def _check(outputs: Sequence[Path], options: argparse.Namespace) -> None:
    """Raise UserError where an output is an input, or there and not what this command writes."""
    from common.files import check_outputs

    check_outputs(outputs, options.files, options.force, is_ours)


def is_ours(path: Path) -> bool:
    """Tell whether a file is a page or a JUnit XML of this program, by its beginning."""
    try:
        with path.open("rb") as file:
            head = file.read(1000)
    except OSError:
        return False
    return any(all(part in head for part in kind) for kind in (PAGE, CASES))


def _say_written(paths: list[Path], quiet: bool) -> None:
    if not quiet:
        say(phrase("written: {paths}", paths=", ".join(map(str, paths))))
