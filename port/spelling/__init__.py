"""The table of meanings: what torch's calls are in Paddle, argument by argument."""

from port.spelling.names import spell_attribute, spell_name, spell_setting
from port.spelling.operators import spell_operator
from port.spelling.spell import spell, spell_otherwise

__all__ = [
    "spell",
    "spell_attribute",
    "spell_name",
    "spell_operator",
    "spell_otherwise",
    "spell_setting",
]
