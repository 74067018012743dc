"""What to type next where weights do not fit a net of the user's own."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConversionError
from common.words.typed import command, command_line

CLASSES = ("num_classes", "classes", "n_classes", "nclass", "num_class", "nb_classes")


@dataclass(frozen=True)
class NextStep:
    """How a command takes what mends a misfit.

    rules: the file of them that is given already. propose: the command that writes a proposal of
    rules, "" where none does. take: how these are given then. classes: how the port's number of
    classes is given, with places for `name` and `count`. port: its callable, which says by which
    name it takes that: where it takes none, that is for its code.
    """

    rules: str | None
    propose: str
    take: str
    classes: str
    port: str

    def after(self, error: ConversionError) -> str:
        """Return what to do about `error`, "" where nothing can be advised."""
        told = []
        if error.names_differ and self.rules:
            told.append(f"The rules of {self.rules} leave these over: correct them there")
        elif error.names_differ and self.propose:
            told.append(
                f"`{self.propose}` proposes rules for names; "
                f"read them, correct them, and {self.take}"
            )
        if error.classes is not None and self.port:
            name = classes_argument(self.port)
            said = (
                self.classes if self.classes and name else "let {port} build the net with {count}"
            )
            said = said.format(name=name, count=error.classes, port=self.port)
            told.append(f"Where that is the number of classes, {said}")
        return "\n".join(told)


def of_options(port: str, rules: str | None) -> NextStep:
    """Return the next step of an alignment of nets that options name."""
    return NextStep(
        rules,
        f"{command_line()} --propose rules.yml",
        "give them as --rules rules.yml",
        "--paddle-args {name}={count} builds the port with it",
        port,
    )


def of_config(config: str, port: str, rules: str | None) -> NextStep:
    """Return the next step of a command that runs on a config."""
    return NextStep(
        rules,
        command("align_forward", config, "--propose", "map.yml"),
        f"set model.rules: map.yml in {config}",
        "set model.paddle_args (or args, of both nets) to {{{name}: {count}}}" + f" in {config}",
        port,
    )


def of_conversion(checkpoint: Path, model: str | None, rules: str | None) -> NextStep:
    """Return the next step of a conversion by the options of `convert_weights`."""
    port = model if model and ":" in model else ""
    words = [checkpoint, *(["--model", port] if port else [])]
    return NextStep(
        rules,
        command("convert_weights", *words, "--propose", "rules.yml") if port else "",
        "give them as --map rules.yml",
        "",
        port,
    )


@contextmanager
def misfits_advised(step: NextStep) -> Iterator[None]:
    """Let a ConversionError of the block say what to do next."""
    try:
        yield
    except ConversionError as error:
        error.advice = error.advice or step.after(error)
        raise


def classes_argument(port: str) -> str:
    """Return by which name a callable takes the number of classes, "" where it takes none."""
    from commands.subjects.callables import load_callable

    try:
        taken = inspect.signature(load_callable(port, "--paddle")).parameters if port else {}
    except (TypeError, ValueError):
        return ""
    return next((name for name in CLASSES if name in taken), "")
