"""Who a process is, and what several tell each other."""

import signal

import ml_dtypes
import numpy as np
import pytest

from common.errors import ConfigError, DataError, UserError
from common.processes.group import ALONE, EndedElsewhereError, ProcessLostError, ended_elsewhere
from common.processes.norms import joined_statistics, norms_found
from common.processes.place import Place, place_of
from common.processes.stop import StopRequest
from tests.common.processes.threads import together
from tests.nursery import environment_of


@pytest.fixture
def launched(monkeypatch):
    """Start as a launcher does; nothing of this process's own environment is left."""

    def set_variables(variables):
        for name in (
            *environment_of("torch", 0, 1, [1, 2]),
            *environment_of("paddle", 0, 1, [1, 2]),
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_the_launcher_says_the_place(launched, framework):
    launched({})
    assert place_of(framework) == Place()
    launched(environment_of(framework, 1, 3, [1, 2, 3, 4]))
    assert place_of(framework) == Place(1, 3, 1, 3)
    launched(environment_of(framework, 0, 1, [1, 2]))  # one process is alone
    assert place_of(framework) == Place()
    rank = "RANK" if framework == "torch" else "PADDLE_TRAINER_ID"
    launched(environment_of(framework, 1, 3, [1, 2, 3, 4]) | {rank: "3"})
    with pytest.raises(UserError, match=f"{rank}=3 and .*=3 name no process"):
        place_of(framework)


@pytest.mark.parametrize(("framework", "other"), [("torch", "paddle"), ("paddle", "torch")])
def test_the_launcher_of_the_other_framework_is_refused(launched, framework, other):
    started = environment_of(other, 0, 2, [1, 2, 3]) | {"TORCHELASTIC_RUN_ID": "x"}
    launched(started)
    with pytest.raises(UserError, match=f"each of which would train alone.*train_{framework}"):
        place_of(framework)


def test_a_number_that_is_none_is_named(launched):
    launched({"WORLD_SIZE": "two"})
    with pytest.raises(UserError, match="WORLD_SIZE=two in the environment"):
        place_of("torch")


@pytest.mark.parametrize("size", [1, 3])
def test_all_get_what_each_has(size):
    def work(group):
        return group.gather({"rank": group.rank, "third": 1 / 3, "nothing": float("nan")})

    for told in [work(ALONE)] if size == 1 else together(size, work):
        assert [one["rank"] for one in told] == list(range(size))
        assert told[0]["third"] == 1 / 3
        assert np.isnan(told[0]["nothing"])


def test_arrays_of_the_first_process_travel_whole():
    arrays = {
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
        "half": np.array([[1.5, -2]], ml_dtypes.bfloat16),
        "empty": np.zeros((0, 2), np.float32),
        "double": np.array([np.nan, -0.0, 1e-310]),
    }

    def work(group):
        return group.of_first(arrays if group.is_first else {})

    for found in together(2, work):
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].tobytes() == array.tobytes()


def test_what_fails_on_the_first_fails_on_all():
    def fails():
        raise ConfigError("a reason")

    first, second = together(2, lambda group: group.on_first(fails))
    assert isinstance(first, ConfigError)
    assert isinstance(second, EndedElsewhereError)
    assert "process 0 of 2 ended the run" in str(second)
    assert together(2, lambda group: group.on_first(lambda: group.rank)) == [0, 0]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_fails_on_one_fails_on_all(failing):
    def work(group):
        with StopRequest(group).together():
            if group.rank == failing:
                raise DataError("broken.png")

    found = together(3, work)
    for rank, error in enumerate(found):
        assert isinstance(error, DataError if rank == failing else EndedElsewhereError)
        assert f"process {failing} of 3" in str(error) or rank == failing


def test_a_signal_on_one_is_known_to_all_at_the_same_moment():
    def work(group):
        stop, seen = StopRequest(group), []
        for step in range(3):
            if (group.rank, step) == (1, 1):
                stop._note(signal.SIGTERM, None)
                assert stop.signal is None  # the others do not know it yet
            with stop.together():
                pass
            seen.append(stop.signal)
        return seen

    assert together(2, work) == [[None, signal.SIGTERM, signal.SIGTERM]] * 2


def test_a_launcher_may_repeat_its_signal():
    """Paddle's sends SIGTERM up to three times; alone the second one acts as ever."""

    def work(group):
        with StopRequest(group) as stop:
            stop._note(signal.SIGTERM, None)
            stop._note(signal.SIGINT, None)
            with stop.together():
                pass
            return stop.signal

    assert together(2, work) == [signal.SIGTERM] * 2


def test_a_process_that_is_gone_is_told():
    def work(group):
        if group.rank == 1:
            group.shared[0].abort()
            return None
        return group.add(np.zeros(1))

    lost, _ = together(2, work)
    assert isinstance(lost, ProcessLostError)
    assert "process 0 of 2" in str(lost)
    assert "--resume auto" in str(lost)
    assert ended_elsewhere(1, 2, 1).exit_code == 1


def test_norms_are_found_by_their_path():
    names = ["cp.backbone.bn", "cp.arm.bn", "ffm.bn"]
    assert norms_found(None, names) == []
    assert norms_found(".", names) == names
    assert norms_found(r"^(?!cp\.backbone\.)", names) == names[1:]
    with pytest.raises(ConfigError, match=r"'head'.*no BatchNorm; There are 3: cp\.backbone"):
        norms_found("head", names)
    with pytest.raises(ConfigError, match=r"did you mean cp\.backbone\b"):
        norms_found(r"^cp\.backbon\.", names)
    with pytest.raises(ConfigError, match="the net has no BatchNorm"):
        norms_found(".", [])


def test_statistics_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).standard_normal((12, 3)) + 1e3
    parts = [values[:2], values[2:7], values[7:]]
    cells = [np.concatenate([p.mean(0), ((p - p.mean(0)) ** 2).sum(0), [len(p)]]) for p in parts]
    total, mean, squares = joined_statistics(np.array(cells))
    assert total == 12
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(squares, ((values - values.mean(0)) ** 2).sum(0), rtol=1e-12)
