"""What came with a later Paddle than the installed one, which the port is written for."""

import ast

from common.environment import paddle_version, versions
from port.spelling.forms import Form

PACKAGES = ("paddlepaddle", "paddlepaddle-gpu")


def too_new(form: Form) -> str:
    """Return why a row is not for the Paddle that is installed; "" where it is, or none is."""
    installed = paddle_version()
    wanted = tuple(map(int, form.since.split("."))) if form.since else ()
    if installed is None or installed >= wanted:
        return ""
    found = next(versions()[name] for name in PACKAGES if name in versions())
    return f"{_called(form)} came with Paddle {form.since}; {found} is installed"


def _called(form: Form) -> str:
    """Return what a row calls, in whose name or argument it is new."""
    if form.newly or form.template.startswith("@"):
        return form.newly
    return ast.unparse(form.tree.func) if isinstance(form.tree, ast.Call) else form.template
