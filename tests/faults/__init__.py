"""Faults of ports, by the net they break; `ALL` is the whole suite (docs/proof/faults.py)."""

from faults.core import EQUIVALENT, Fault, Subject, run_stage, triples
from faults.first import STDC_FAULTS, small_faults, small_pair
from faults.nets import FAULTS as NETS
from faults.pixels import FAULTS as PIXELS
from faults.recipes import FAULTS as RECIPES
from faults.stdc import FAULTS as STDC
from faults.stdc_recipe import FAULTS as STDC_RECIPE
from faults.students import FAULTS as STUDENTS
from faults.subjects import SUBJECTS

ALL: tuple[Fault, ...] = (*STDC, *STDC_RECIPE, *STUDENTS, *NETS, *RECIPES, *PIXELS)

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
