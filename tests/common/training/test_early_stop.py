"""A run whose validations get no better ends early, whole; one that is resumed counts on."""

import math
import signal

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.settings.load import load_settings
from common.settings.train import EarlyStop
from common.training.early_stop import EarlyState
from common.training.logs import read_log
from tests.common.training.numpy_side import CONFIG, Listener, NumpySide, log_of

STOP = ("train.early_stop={patience: 1}", "train.eval_interval=1", "train.iterations=7")


class Same(NumpySide):
    """Never better than the first time."""

    def predict(self, image, options):
        return np.zeros((len(image), *image.shape[2:]), np.int64)


def test_it_counts_validations_that_are_no_better():
    state, options = EarlyState(), EarlyStop(patience=1, min_delta=0.1)
    for score, bad in ((0.5, 0), (0.55, 1), (0.7, 0), (math.nan, 1), (0.75, 2)):
        assert not state.over(options)
        state.see({"mean_iou": score}, options)
        assert state.bad == bad
    assert state.over(options)
    assert not state.over(None)
    assert state.best == 0.7


def test_a_score_that_is_not_there_is_an_error_that_names_those_that_are():
    with pytest.raises(UserError, match=r"metric is dice, which is None .* mean_iou are"):
        EarlyState().see({"mean_iou": 0.5, "iou": {}}, EarlyStop(metric="dice", patience=1))


def test_the_run_ends_whole_and_says_so(go):
    listener = Listener()
    outcome, side = go(side=Same(), overrides=STOP, reporter=listener)
    assert (outcome.iteration, outcome.stopped_early, outcome.stopped_by) == (3, True, None)
    assert len(side.rates) == 3
    assert (outcome.folder / "final.npy").exists()
    assert outcome.checkpoint.name == "iteration_00000003"
    (said,) = (text for text in listener.messages if "stopped early" in text)
    assert "2 validations had no better mean_iou than" in said
    assert read_log(outcome.folder / "log.jsonl")[-1]["iteration"] == 3


def test_resumed_it_ends_where_the_whole_run_does(go):
    whole, _ = go("whole", Same(), overrides=STOP)
    cut, _ = go("cut", Same(stop_in_step=1), overrides=STOP)
    assert (cut.stopped_by, cut.stopped_early) == (signal.SIGTERM, False)
    rest, side = go("cut", Same(), resume="auto", overrides=STOP)
    assert (rest.iteration, rest.stopped_early) == (3, True)
    assert len(side.rates) == 1
    assert log_of(rest) == log_of(whole)
    again, side = go("cut", Same(), resume="auto", overrides=STOP)
    assert (again.stopped_early, side.rates) == (True, [])
    more = (STOP[0].replace("1", "2"), *STOP[1:])  # of more patience it goes on
    longer, _ = go("cut", Same(), resume="auto", overrides=more)
    assert (longer.iteration, longer.stopped_early) == (4, True)


def test_the_last_iteration_is_no_early_one(go):
    outcome, _ = go(
        side=Same(), overrides=(*STOP[:2], "train.iterations=3", "schedule.warmup_steps=1")
    )
    assert (outcome.iteration, outcome.stopped_early) == (3, False)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.early_stop={patience: -1}", "train.early_stop.patience is -1"),
        ("train.early_stop={metric: mean_iou}", "train.early_stop.patience is not set"),
        ("train.early_stop={patience: 1, metrik: a}", "did you mean train.early_stop.metric?"),
        ("train.early_stop={patience: 1, metric: miou}", "train.early_stop.metric is 'miou'"),
        ("train.early_stop={patience: 1, metric: metric}", "the section metric names none"),
        ("train.early_stop={patience: 1} train.eval_interval=0", "train.eval_interval is 0"),
    ],
)
def test_keys_are_checked(override, told):
    first, _, second = override.partition("} ")
    given = [f"{first}}}" if second else first, *([second] if second else [])]
    with pytest.raises(ConfigError) as caught:
        load_settings(CONFIG, given)
    assert told in str(caught.value)


def test_dice_is_computed_where_it_is_followed(go):
    overrides = ("train.early_stop={patience: 0, metric: dice}", *STOP[1:])
    outcome, _ = go(side=Same(), overrides=overrides)
    assert outcome.iteration == 2
    assert "dice" in read_log(outcome.folder / "log.jsonl")[-1]


def test_what_is_set_beside_the_ordinary_stands_in_the_settings_of_the_run(go):
    class Told(Listener):
        def start(self, settings, notes, total):
            self.settings = dict(settings)

    told = Told()
    go("plain", reporter=told, overrides=("train.iterations=4",))
    assert not {"frozen", "average", "early stop", "precision"} & told.settings.keys()
    more = ("freeze.statistics=[bn]", "train.ema={decay: 0.9}", "train.compile=true", STOP[0])
    go("more", reporter=told, overrides=("train.iterations=4", *more))
    assert told.settings["frozen"] == "statistics=['bn']"
    assert told.settings["average"] == "decay=0.9, warm_up=True"
    assert told.settings["early stop"] == "metric=mean_iou, patience=1, min_delta=0.0"
    assert told.settings["precision"] == "compile=True"
