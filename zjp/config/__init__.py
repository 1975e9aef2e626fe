"""Settings: one table, one reader, one frozen object.

- `kinds` reads and checks the text of one setting (a number, a duration, an address).
- `table` is the literal table of all settings, and `Settings`, the object everything else is given.
- `load` gathers flags, environment and file into it; the only reader of the environment.
- `rules` and `serving` hold what several settings must be together.
- `docs` writes `.env.example` and `docs/settings.md` from the table (`python -m zjp.config env|markdown`).

A part of zjp never looks up a setting by itself: whoever starts it passes `Settings`, or the values it needs.
"""

from zjp.config.load import Loaded, effective, inherited_environment, load
from zjp.config.serving import cautions
from zjp.config.table import TABLE, Setting, Settings
from zjp.units import parse_duration_s, parse_size_bytes

__all__ = [
    "TABLE",
    "Loaded",
    "Setting",
    "Settings",
    "cautions",
    "effective",
    "inherited_environment",
    "load",
    "parse_duration_s",
    "parse_size_bytes",
]
