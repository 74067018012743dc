"""Things of the user's own in a config: which section is own, and what it names."""

import pytest

from common.errors import ConfigError
from common.settings.load import load_settings
from common.settings.run import Settings
from tests.paths import CONFIGS

MINE = f"""
_base_: {CONFIGS / "unet_toy.yml"}
name: mine
model: {{torch: nets:build, paddle: port:build, args: {{width: 8}}, paddle_args: {{width: 9}},
        num_classes: 19}}
loss: {{torch: nets:loss, paddle: port:loss}}
metric: {{both: scores:accuracy}}
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(MINE)
    return path


def test_a_section_that_names_callables_is_own_and_the_others_stay_ours(mine):
    run = load_settings(mine)
    assert run.model.of("torch", "model") == ("torch", "nets:build", {"width": 8})
    assert run.model.of("paddle", "model") == ("paddle", "port:build", {"width": 9})
    assert run.metric.of("torch", "metric") == ("both", "scores:accuracy", {})
    assert (run.loss.name, run.data.dataset, run.schedule.name) == ("own", "cityscapes", "plateau")
    assert run.model.name == "port:build"
    assert Settings.model_validate(run.model_dump()) == run
    assert run.resized((2, 3, 32, 32)).loss == run.loss


def test_the_command_line_replaces_one_or_goes_back_to_ours(mine):
    assert load_settings(mine, ["loss.torch=nets:other"]).loss.paddle == "port:loss"
    back = load_settings(mine, ["model.name=unet", "loss.name=unet"])
    assert (back.model.name, back.model.num_classes, back.loss.name) == ("unet", 19, "unet")
    own = ["data.both=sets:Mine", "data.root=null", "schedule.both=rates:poly"]
    run = load_settings(CONFIGS / "stdc1_toy.yml", own)
    assert (run.data.both, run.data.root, run.data.crop_hw) == ("sets:Mine", None, (128, 256))
    assert run.schedule.both == "rates:poly"


REFUSED = {
    "no colon": ("loss.torch=nets", "loss.torch: expected MODULE:CALLABLE"),
    "no classes": ("model={torch: a:b}", "model.num_classes is not set"),
    "both and one": ("metric.torch=a:b", "both stands for torch and paddle"),
    "a key of no kind": ("model.rule=2", "did you mean model.rules?"),
    "none at all": ("loss={name: own, torch: null, paddle: null}", "loss: names no callable"),
    "no scheduler there": ("schedule.name=in_optimizer", "unet_rmsprop holds no scheduler"),
    "no first rate": ("schedule.torch=a:b", "schedule.base_lr is not set: unet_rmsprop begins"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused(mine, case):
    override, words = REFUSED[case]
    base = CONFIGS / "unet_toy.yml" if case == "no classes" else mine
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        load_settings(base, [override])


def test_a_side_that_is_not_named_is_missed_only_when_it_is_asked_for(mine):
    run = load_settings(mine, ["loss.torch=null"])
    assert run.loss.of("paddle", "loss").spec == "port:loss"
    with pytest.raises(ConfigError, match=r"loss\.torch is not set, and loss\.paddle is"):
        run.loss.of("torch", "loss")
