"""The table of meanings: what torch's calls are in Paddle, argument by argument."""

from port.spelling.names import spell_attribute, spell_name, spell_setting
from port.spelling.operators import spell_operator
from port.spelling.spell import differences, spell, spell_otherwise

__all__ = [
    "differences",
    "spell",
    "spell_attribute",
    "spell_name",
    "spell_operator",
    "spell_otherwise",
    "spell_setting",
]
