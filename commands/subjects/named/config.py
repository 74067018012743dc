"""A config with its own things: where they are looked for, and how they are loaded."""

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.subjects.callables import load_callable, users_errors
from common.settings.data import OwnData
from common.settings.load import load_settings
from common.settings.own import OwnModel, OwnOfEach
from common.settings.run import Settings

SECTIONS = ("model", "data", "augmentation", "loss", "optimizer", "schedule", "metric")
CONFIG_SUFFIXES = (".yml", ".yaml")


def read_config(config: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Return the settings of a config; modules that it names are found beside it from now on.

    They are looked for in the folder of the config, then in the current one. What is not in the
    current folder but beside the config is found there: rules file and checkpoint of a net of the
    user's own, root of data of the user's own. Raises ConfigError, which names what was tried.
    """
    settings = load_settings(config, overrides)
    _latest[:] = [str(config)]
    if not any(own_section(settings, name) for name in SECTIONS):
        return settings
    folder = Path(config).resolve().parent
    for place in (Path.cwd(), folder):
        if str(place) not in sys.path:
            sys.path.insert(1, str(place))  # after the checkout
    model, weights = settings.model, settings.weights
    if isinstance(model, OwnModel):
        model = model.model_copy(update={"rules": _beside(folder, model.rules)})
        weights = weights.model_copy(update={"path": _beside(folder, weights.path)})
    data = settings.data
    if isinstance(data, OwnData):
        data = data.model_copy(update={"root": _beside(folder, data.root)})
    return settings.model_copy(update={"model": model, "weights": weights, "data": data})


_latest: list[str] = []


def latest_config() -> str:
    """Return the path of the config that was read last, which is what a command runs on."""
    return _latest[0] if _latest else "CONFIG"


def _beside(folder: Path, path: str | None) -> str | None:
    """Return a path that is not there as the one beside the config, if that is."""
    if path is None or Path(path).exists() or not (folder / path).exists():
        return path
    return str(folder / path)


def own_section(settings: Settings, name: str) -> OwnOfEach | None:
    """Return the section `name` of `SECTIONS` where it is the user's own."""
    value = getattr(settings.data if name == "augmentation" else settings, name)
    return value if isinstance(value, OwnOfEach) else None


@dataclass(frozen=True)
class Own:
    """A callable that a config names for one framework. It travels to reading processes.

    key: of the config, `loss.torch`. spec: "module:callable". arguments: by keyword.
    """

    key: str
    spec: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.key} {self.spec}"

    @property
    def found(self) -> Callable[..., Any]:
        """The callable itself; UserError where there is none."""
        return _found(self.spec, self.key)

    @property
    def function(self) -> Callable[..., Any]:
        """The callable with its arguments."""
        return functools.partial(self.found, **self.arguments) if self.arguments else self.found

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Call it; what it raises is a UserError that begins with its key."""
        function = self.function
        with users_errors(str(self)):
            return function(*given, **more)


@functools.lru_cache
def _found(spec: str, key: str) -> Callable[..., Any]:
    return load_callable(spec, key)


def own_of(settings: Settings, section: str, framework: str) -> Own | None:
    """Return what the section names for "torch" or "paddle"; None where it is one of our tables.

    Raises ConfigError where it names a callable of the other framework alone.
    """
    found = own_section(settings, section)
    if found is None:
        return None
    key = "data.augmentation" if section == "augmentation" else section
    given = found.of(framework, key)
    return Own(f"{key}.{given.key}", given.spec, given.arguments)
