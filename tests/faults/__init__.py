"""Faults of ports, by the net they break; `ALL` is the whole suite (docs/proof/faults.py)."""

from tests.faults.core import EQUIVALENT, Fault, Subject, run_stage, triples
from tests.faults.first import STDC_FAULTS, small_faults, small_pair
from tests.faults.nets import FAULTS as NETS
from tests.faults.pixels import FAULTS as PIXELS
from tests.faults.recipes import FAULTS as RECIPES
from tests.faults.stdc import FAULTS as STDC
from tests.faults.stdc_recipe import FAULTS as STDC_RECIPE
from tests.faults.strangers import FAULTS as STRANGERS
from tests.faults.strangers_recipes import FAULTS as STRANGERS_RECIPES
from tests.faults.students import FAULTS as STUDENTS
from tests.faults.subjects import SUBJECTS

ALL: tuple[Fault, ...] = (
    *(*STDC, *STDC_RECIPE, *STUDENTS, *NETS, *RECIPES, *PIXELS),
    *(*STRANGERS, *STRANGERS_RECIPES),
)

__all__ = [
    "ALL",
    "EQUIVALENT",
    "STDC_FAULTS",
    "SUBJECTS",
    "Fault",
    "Subject",
    "run_stage",
    "small_faults",
    "small_pair",
    "triples",
]
