"""Reads a pickle without running anything from it.

A small machine for the opcodes of `pickletools`, protocols 0 to 5: what a pickle would import
becomes a `Global`, which is a name and nothing more; what it would call is looked up in the table
of `convert.formats.pickles.globals`, whose entries are this project's own and have no side effects.
"""

import struct
from collections.abc import Callable
from typing import Any

from convert.formats.pickles.globals import (
    Global,
    RefusedError,
    build,
    call,
    refuse_unknown,
)
from convert.formats.stored import DamagedError

MOST_OPCODES = 20_000_000
# What calls may copy in all: bytes by the size of the pickle, and entries of lists and dicts.
COPIED_TIMES, COPIED_LEAST, MOST_ENTRIES = 2, 1 << 16, 4_000_000
_PLAIN_KEYS = (str, int, float, bytes, bool, type(None))

Persistent = Callable[[Any], Any]
_Handler = Callable[["PickleMachine"], None]


def _no_persistent(identity: Any) -> Any:
    raise DamagedError("the pickle refers to a storage outside itself")


class PickleMachine:
    """Reads one pickle of `data`, from `start`; `end` is the place behind it."""

    def __init__(
        self,
        data: memoryview,
        start: int = 0,
        persistent: Persistent = _no_persistent,
        inert: tuple[str, ...] = (),
    ) -> None:
        """`inert` are beginnings of names of further classes that may be read as their state."""
        self._data = data
        self.end = start
        self._persistent = persistent
        self._inert = inert
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._may_copy = COPIED_TIMES * len(data) + COPIED_LEAST
        self._may_list = min(self._may_copy, MOST_ENTRIES)

    def load(self) -> Any:
        """Return the object.

        Raises DamagedError where it is no pickle, RefusedError where it asks for a global that
        may run code.
        """
        try:
            for _ in range(MOST_OPCODES):
                code = self._take(1)[0]
                if code == _STOP:
                    return self._stack.pop()
                OPCODES[code](self)
        except RefusedError as error:
            error.place = self._keys()
            raise
        except DamagedError:
            raise
        except (KeyError, IndexError, ValueError, TypeError, struct.error, OverflowError):
            raise DamagedError(f"its pickle makes no sense at byte {self.end}") from None
        raise DamagedError(f"its pickle has more than {MOST_OPCODES:,} steps")

    def _keys(self) -> tuple[str, ...]:
        """Return the keys of the dicts that are being filled, outermost first."""
        keys: list[str] = []
        levels = [*self._below, self._stack]
        inside = False
        for number, level in enumerate(levels):
            path, wants_key = [], inside
            for place, item in enumerate(level):
                open_ = isinstance(item, dict) and (
                    not item or (place == len(level) - 1 and number < len(levels) - 1)
                )
                if wants_key:
                    path.append(item)
                elif path and not open_:
                    path.pop()
                wants_key = open_ or (not wants_key and bool(path or inside))
            keys += [key for key in path if isinstance(key, str) and len(key) < 80]
            inside = bool(level) and isinstance(level[-1], dict)
        return tuple(keys)

    # The input.

    def _take(self, count: int) -> memoryview:
        piece = self._data[self.end : self.end + count]
        if len(piece) != count:
            raise DamagedError("its pickle is cut off")
        self.end += count
        return piece

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        limit = min(len(self._data), self.end + (1 << 16))
        line = bytes(self._data[self.end : limit]).partition(b"\n")
        if not line[1]:
            raise DamagedError("its pickle is cut off")
        self.end += len(line[0]) + 1
        return line[0].decode("utf-8", "strict")

    # The stack.

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if len(items) % 2 or not isinstance(target, dict):
            raise DamagedError("its pickle fills something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(map(plain_key, items))
        else:
            raise DamagedError("its pickle fills something that is no list")

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("its pickle names a global by something that is no text")
        self.push(refuse_unknown(Global.of(module, name), self._inert))

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        self._stack[-1] = self._called(self._stack[-1], arguments)

    def _called(self, target: Any, arguments: Any) -> Any:
        """Return what a call makes; what a pickle remembers it may hand on many times over."""
        for given in arguments if type(arguments) is tuple else ():
            if isinstance(given, (str, bytes, memoryview)):
                self._may_copy -= len(given)
            elif isinstance(given, (dict, list, tuple, set, frozenset)):
                self._may_list -= len(given)
        if min(self._may_copy, self._may_list) < 0:
            raise DamagedError("its pickle copies far more than it holds")
        return call(target, arguments)

    def _build(self) -> None:
        state = self._stack.pop()
        build(self._stack[-1], state)

    def _extended(self) -> None:
        raise DamagedError("its pickle uses the extension registry or buffers outside the file")

    def _instance(self, arguments: list[Any], target: Any) -> None:
        self.push(self._called(target, tuple(arguments)))


def plain_key(key: Any) -> Any:
    """Return `key` if it is text, a number or a tuple of such; raises DamagedError otherwise."""
    parts = key if type(key) is tuple else (key,)
    if all(type(part) in _PLAIN_KEYS for part in parts):
        return key
    return f"<{type(key).__name__} {id(key):x}>"  # such an entry is never weights


def _two(machine: PickleMachine, pop: Callable[[], Any]) -> tuple[Any, Any]:
    second = pop()
    return pop(), second


def _opcodes() -> dict[int, _Handler]:
    """Return what to do for each opcode, by groups."""
    return {
        ord(code): handler
        for table in (_numbers(), _texts(), _containers(), _objects(), _memory())
        for code, handler in table.items()
    }


def _numbers() -> dict[str, _Handler]:
    def long(machine: PickleMachine, form: str) -> None:
        machine.push(int.from_bytes(machine._take(machine._number(form)), "little", signed=True))

    def text(machine: PickleMachine) -> None:
        line = machine._line()
        machine.push({"01": True, "00": False}[line] if line in ("01", "00") else int(line))

    return {
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "J": lambda m: m.push(m._number("<i")),
        "K": lambda m: m.push(m._number("<B")),
        "M": lambda m: m.push(m._number("<H")),
        "G": lambda m: m.push(m._number(">d")),
        "I": text,
        "L": lambda m: m.push(int(m._line().rstrip("L"))),
        "F": lambda m: m.push(float(m._line())),
        "\x8a": lambda m: long(m, "<B"),
        "\x8b": lambda m: long(m, "<I"),
    }


def _texts() -> dict[str, _Handler]:
    def text(machine: PickleMachine, form: str) -> None:
        piece = machine._take(machine._number(form))
        machine.push(str(piece, "utf-8", "surrogatepass"))

    def old_text(machine: PickleMachine, form: str) -> None:  # Python 2's str
        machine.push(str(machine._take(machine._number(form)), "latin1"))

    def quoted(machine: PickleMachine) -> None:
        line = machine._line()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
            raise DamagedError("its pickle holds a text without quotes")
        machine.push(line[1:-1].encode("latin1").decode("unicode_escape"))

    return {
        "X": lambda m: text(m, "<I"),
        "\x8c": lambda m: text(m, "<B"),
        "\x8d": lambda m: text(m, "<Q"),
        "U": lambda m: old_text(m, "<B"),
        "T": lambda m: old_text(m, "<i"),
        "S": quoted,
        "V": lambda m: m.push(m._line().encode("latin1").decode("raw_unicode_escape")),
        # Bytes stay where they are in the file.
        "B": lambda m: m.push(m._take(m._number("<I"))),
        "C": lambda m: m.push(m._take(m._number("<B"))),
        "\x8e": lambda m: m.push(m._take(m._number("<Q"))),
        "\x96": lambda m: m.push(m._take(m._number("<Q"))),
    }


def _containers() -> dict[str, _Handler]:
    def top(machine: PickleMachine, count: int) -> None:
        items = tuple(machine._stack[-count:])
        if len(items) != count:
            raise IndexError
        del machine._stack[-count:]
        machine.push(items)

    def items(machine: PickleMachine) -> dict[Any, Any]:
        pairs = machine._to_mark()
        return {plain_key(k): v for k, v in zip(pairs[::2], pairs[1::2], strict=True)}

    def set_item(machine: PickleMachine) -> None:
        machine._set_items(list(_two(machine, machine._stack.pop)))

    return {
        "(": lambda m: m._mark(),
        ")": lambda m: m.push(()),
        "]": lambda m: m.push([]),
        "}": lambda m: m.push({}),
        "\x8f": lambda m: m.push(set()),
        "t": lambda m: m.push(tuple(m._to_mark())),
        "l": lambda m: m.push(m._to_mark()),
        "d": lambda m: m.push(items(m)),
        "\x91": lambda m: m.push(frozenset(map(plain_key, m._to_mark()))),
        "\x85": lambda m: top(m, 1),
        "\x86": lambda m: top(m, 2),
        "\x87": lambda m: top(m, 3),
        "a": lambda m: m._append([m._stack.pop()]),
        "e": lambda m: m._append(m._to_mark()),
        "\x90": lambda m: m._append(m._to_mark()),
        "s": set_item,
        "u": lambda m: m._set_items(m._to_mark()),
    }


def _objects() -> dict[str, _Handler]:
    def instance(machine: PickleMachine) -> None:
        module, name = machine._line(), machine._line()
        arguments = machine._to_mark()
        machine._global(module, name)
        machine._instance(arguments, machine._stack.pop())

    def new_with_keywords(machine: PickleMachine) -> None:
        machine._stack.pop()  # keywords: of inert classes alone, which keep no arguments
        machine._reduce()

    def in_place(machine: PickleMachine) -> None:
        target, *arguments = machine._to_mark()
        machine._instance(arguments, target)

    return {
        "c": lambda m: m._global(m._line(), m._line()),
        "\x93": lambda m: m._global(*_two(m, m._stack.pop)),
        "i": instance,
        "o": in_place,
        "R": lambda m: m._reduce(),
        "\x81": lambda m: m._reduce(),
        "\x92": new_with_keywords,
        "b": lambda m: m._build(),
        "P": lambda m: m.push(m._persistent(m._line())),
        "Q": lambda m: m.push(m._persistent(m._stack.pop())),
        **dict.fromkeys("\x82\x83\x84\x97", lambda m: m._extended()),
    }


def _memory() -> dict[str, _Handler]:
    def protocol(machine: PickleMachine) -> None:
        if machine._number("<B") > 5:
            raise DamagedError("its pickle is of a protocol above 5")

    def pop(machine: PickleMachine) -> None:
        if machine._stack:
            machine._stack.pop()
        else:
            machine._to_mark()

    return {
        "\x80": protocol,
        "\x95": lambda m: m._number("<Q"),
        "\x98": lambda m: None,
        "\x94": lambda m: m._remember(len(m._memo)),
        "q": lambda m: m._remember(m._number("<B")),
        "r": lambda m: m._remember(m._number("<I")),
        "p": lambda m: m._remember(int(m._line())),
        "h": lambda m: m.push(m._memo[m._number("<B")]),
        "j": lambda m: m.push(m._memo[m._number("<I")]),
        "g": lambda m: m.push(m._memo[int(m._line())]),
        "0": pop,
        "1": lambda m: m._to_mark() and None,
        "2": lambda m: m.push(m._stack[-1]),
    }


_STOP = ord(".")
OPCODES = _opcodes()
