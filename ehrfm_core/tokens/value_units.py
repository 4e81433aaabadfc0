"""In which unit the values of a category are, where CLIF or the tokenizer says so."""

from __future__ import annotations

from functools import cache

import yaml

from ehrfm_core.clif.columns import clifpy_file
from ehrfm_core.tokens.fit import base_code
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import AGE

_TABLES = {"labs": "lab_reference_units", "vitals": "vital_units"}  # and the key of their units in the schema
_NONE = "(no units)"


@cache
def _schema_units(table: str) -> dict[str, str]:
    """CLIF's units by category of a table."""
    path = clifpy_file(f"schemas/2.1/{table}_schema.yaml")
    units = yaml.safe_load(path.read_text(encoding="utf-8")).get(_TABLES[table], {})
    return {name: unit for name, unit in units.items() if unit != _NONE}


def value_units(tokenizer: Tokenizer) -> dict[str, str]:
    """Unit by code of the codes with values: years, CLIF's for labs and vitals, that of converted doses.

    A code is missing where nothing says its unit. CLIF's unit is what a site's table should be in; the
    tokenizer does not convert labs and vitals.

    >>> from ehrfm_core.tokens.settings import TokenSettings
    >>> value_units(Tokenizer(TokenSettings(), {"lab/potassium": [3.9], "lab/inr": [1.1]}, {}))
    {'lab/potassium': 'mmol/l', 'age': 'years'}
    """
    tables = {s.family: s.table for s in tokenizer.events.sources if s.table in _TABLES and s.value}
    units = {}
    for code in (*tokenizer.cut_points, *tokenizer.reference):
        family, _, name = base_code(code).partition("/")
        unit = _schema_units(tables[family]).get(name) if family in tables else None
        if unit:
            units[code] = unit
    return units | tokenizer.units | {AGE: "years"}
