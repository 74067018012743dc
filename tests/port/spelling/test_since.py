"""What came with a later Paddle than the one that is installed has no spelling."""

import re
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from common.environment import paddle_version
from common.words.texts import in_chinese
from port.calls import NoSpelling
from port.spelling import since, spell_name
from port.spelling.forms import Form
from port.spelling.since import too_new
from port.spelling.table import rows
from tests.port.spelling.rows import torch_values
from tests.port.spelling.translate import Translation

YOUNG = {form.template: form for forms in rows().values() for form in forms if form.since}
INSTALLED = paddle_version() or ()


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Paddle 2.6.2 be the one that is installed."""
    monkeypatch.setattr(since, "paddle_version", lambda: (2, 6, 2))
    monkeypatch.setattr(since, "versions", lambda: {"paddlepaddle": "2.6.2"})


@pytest.mark.usefixtures("old")
def test_a_younger_function_is_a_gap_that_says_since_when() -> None:
    with pytest.raises(NoSpelling) as gap:
        Translation(torch_values("x4")).translated("torch.sinc(x4)")
    assert str(gap.value) == "torch.sinc: paddle.sinc came with Paddle 3.0; 2.6.2 is installed"
    with pytest.raises(NoSpelling, match=r"paddle[.]sinc came with Paddle 3[.]0"):
        spell_name("torch.sinc")


@pytest.mark.usefixtures("old")
def test_a_younger_argument_is_a_gap_and_without_it_there_is_none() -> None:
    translation = Translation(torch_values("x4"))
    with pytest.raises(
        NoSpelling, match=r"F[.]interpolate\(antialias=True\) came with Paddle 3[.]3[.]1"
    ):
        translation.translated("F.interpolate(x4, (4, 4), mode='bilinear', antialias=True)")
    assert translation.translated("F.interpolate(x4, (4, 4))") == "F.interpolate(x4, size=(4, 4))"


@pytest.mark.parametrize("version", [(3, 0, 0), (3, 10, 1), None])
def test_a_later_paddle_and_none_have_it(
    version: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(since, "paddle_version", lambda: version)
    assert too_new(Form("torch.sinc", (), "paddle.sinc(input)", {}, since="3.0")) == ""


def test_the_reason_is_told_in_chinese() -> None:
    told = in_chinese("net.py:3: torch.sinc: paddle.sinc came with Paddle 3.0; 2.6.2 is installed")
    assert told == "net.py:3: torch.sinc: paddle.sinc 从 Paddle 3.0 起才有；已安装的是 2.6.2"


@pytest.mark.parametrize("template", YOUNG)
def test_it_is_there_or_not_as_the_row_says(template: str) -> None:
    """What a later version made right (`newly`) may be there before."""
    form = YOUNG[template]
    name = re.split("[()]", template.removeprefix("into("))[0]
    there = has(name)
    assert there or tuple(map(int, form.since.split("."))) > INSTALLED
    assert not there or bool(form.newly) or not too_new(form)


def has(dotted: str) -> bool:
    """Return whether Paddle has a name."""
    known: ModuleType = paddle
    path = dotted.replace("F.", "nn.functional.").replace("input.", "Tensor.")
    for part in path.removeprefix("paddle.").split("."):
        if not hasattr(known, part):
            return False
        known = getattr(known, part)
    return True
