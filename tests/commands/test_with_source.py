"""Where a report finds the code of a config's optimizer, schedule and metric."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from align import align_metric
from align.nets.calls import written_at
from commands.subjects.named.config import Own
from commands.subjects.named.with_source import WithSource, point_at

ONE = np.ones(1)


def test_of_the_users_own_it_is_the_line():
    own = Own("optimizer.paddle", f"{__name__}:{Own.__name__}", {})
    made = WithSource(lambda p: p, own, Path("my.yml"), "optimizer")
    assert made(3) == 3
    assert written_at(made) == made.source
    assert "config.py:" in made.source


def test_of_our_tables_it_is_the_key_of_the_config():
    made = WithSource(lambda p: p, None, Path("my.yml"), "optimizer")
    assert written_at(made) == "my.yml: optimizer"


def test_what_differs_without_a_net_points_at_the_users_callables():
    """Equal batches have no lines: nothing is to be looked for there."""
    report = align_metric(lambda p, y: 1.0, lambda p, y: float(p[0]), [(ONE, ONE)] * 2)
    assert report.exit_code == 0
    wrong = align_metric(lambda p, y: 1.0, lambda p, y: 2.0, [(ONE, ONE)])
    own = SimpleNamespace(found=test_of_the_users_own_it_is_the_line)
    found = point_at(wrong, [None, own]).divergences[0]
    assert found.torch_source is None
    assert re.search(r"test_with_source\.py:\d+$", found.paddle_source)
    assert wrong.layers[found.layer].paddle_source == found.paddle_source
    assert point_at(report, [own, own]).layers == {}
