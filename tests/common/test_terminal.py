"""Lines that say how far a command is, where there is no terminal."""

from types import SimpleNamespace

from common import terminal


def test_the_first_is_not_part_of_the_estimate(monkeypatch, capsys):
    """It waits for an export, say, which is made once."""
    clock = iter((0.0, 60.0, 62.0, 72.0, 100.0))
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with terminal.counting("photos", 40) as count:
        for done in (1, 2, 5, 40):
            count(done)
    assert capsys.readouterr().err.splitlines() == ["photos 1/40", "photos 5/40, 1:45 left"]
