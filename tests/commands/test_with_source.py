"""Where a report finds the code of a config's optimizer and schedule."""

from pathlib import Path

from align.nets.calls import written_at
from commands.subjects.named.config import Own
from commands.subjects.named.with_source import WithSource


def test_of_the_users_own_it_is_the_line():
    own = Own("optimizer.paddle", f"{__name__}:{Own.__name__}", {})
    made = WithSource(lambda p: p, own, Path("my.yml"), "optimizer")
    assert made(3) == 3
    assert written_at(made) == made.source
    assert "config.py:" in made.source


def test_of_our_tables_it_is_the_key_of_the_config():
    made = WithSource(lambda p: p, None, Path("my.yml"), "optimizer")
    assert written_at(made) == "my.yml: optimizer"
