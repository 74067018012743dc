"""Operators between types: the spelling gives torch's dtype and values."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.spelling import operators, spell_operator
from tests.port.spelling.translate import described

VALUES = {
    "f": np.linspace(-1, 1, 6, dtype=np.float32),
    "d": np.linspace(0, 2, 6),
    "z": np.array(1.5),
    "n": np.array(2),
    "i": np.arange(6),
    "j": np.arange(6, dtype=np.int32),
    "b": np.arange(6) % 2 == 0,
}


@pytest.mark.parametrize("sign", ["+", "-", "*"])
@pytest.mark.parametrize("pair", ["fb", "bf", "fi", "if", "ib", "ij", "fd", "di", "fz", "nf", "jn"])
def test_operator_between_types(sign: str, pair: str) -> None:
    a, b = pair
    space = {name: torch.from_numpy(value) for name, value in VALUES.items()}
    if sign == "-" and "b" in pair:
        sign = "*"  # torch refuses the difference
    reference = eval(f"{a} {sign} {b}", space)
    sides = [described(name, space[name]) for name in pair]
    spelled = spell_operator(sign, *sides)
    assert spelled is not None
    got = eval(spelled.text, {k: paddle.to_tensor(v) for k, v in VALUES.items()})
    assert str(got.dtype).endswith(str(reference.dtype).removeprefix("torch."))
    assert np.allclose(got.numpy(), reference.numpy())


def test_operands_of_one_type_stay() -> None:
    one, number = described("a", torch.zeros(2)), described("0.5", 0.5)
    assert spell_operator("*", one, one) is None
    assert spell_operator("*", one, number) is None


def test_operands_are_put_in_brackets() -> None:
    left, right = described("a + b", torch.zeros(2)), described("m > n", torch.zeros(2) > 0)
    spelled = spell_operator("*", left, right)
    assert spelled is not None
    assert spelled.text == "((a + b) * (m > n).astype((a + b).dtype))"


@pytest.mark.parametrize("right", ["0.7", "d"])
def test_what_division_leaves_has_a_gradient_on_an_old_paddle(
    right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paddle 2.6's `%` hands none on, and rounds the number to float32."""
    d = torch.from_numpy(VALUES["d"])
    sides = [described("d", d), described(right, d if right == "d" else 0.7)]
    monkeypatch.setattr(operators, "paddle_version", lambda: (3, 0))
    assert spell_operator("%", *sides) is None
    monkeypatch.setattr(operators, "paddle_version", lambda: (2, 6))
    spelled = spell_operator("%", *sides)
    assert spelled is not None
    assert (spelled.text, spelled.helpers) == (f"remainder(d, {right})", {"remainder"})
    whole = described("i", torch.arange(3))
    assert spell_operator("%", whole, described("2", 2)) is None
