"""The table of rungs: what commands offer, what `reproduce` climbs, what stands behind it."""

import align
from commands.align.rungs import LADDER, ROWS, RUNGS, STAGES, compares_nets


def test_every_rung_of_the_library_has_a_row():
    # --record, --force and --against of forward and backward
    options = {"record_trace", "force_trace", "align_against"}
    verbs = {name for name in align.__all__ if name[0].islower()} - options
    assert {row.verb for row in ROWS if row.verb} == verbs


def test_rows_have_names_and_places_of_their_own():
    assert len(RUNGS) == len(ROWS)
    places = [row.ladder for row in LADDER]
    assert places == list(range(1, len(LADDER) + 1))


def test_every_row_can_be_climbed():
    for row in ROWS:
        assert row.of_recipe or row.of_trace, row.name
        assert row.of_recipe or row.ladder is None, row.name


def test_what_people_type_and_what_the_ladder_climbs():
    assert STAGES == ("weights", "init", "loss", "data", "metric", "step", "export", "judge")
    assert [row.name for row in LADDER] == [
        *("weights", "init", "forward, eval", "forward, train", "backward"),
        *("data", "loss", "metric", "training", "export"),
    ]


def test_notes_of_the_nets_stand_where_nets_are_compared():
    without = {"loss", "data", "metric", "export"}
    assert {name for name in STAGES if not compares_nets(name)} == without
    assert compares_nets("forward")
    assert compares_nets("training")
