"""Cohorts A and B: held in the session and in the URL as rules, evaluated over all stays when asked.

A rule is compressed text, so that a link carries the cohort itself and nothing has to be stored for it. Every
change goes through `put`, which remembers what was there before.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

import polars as pl
import streamlit as st

from dashboard import data, state
from ehrfm_core.cohorts import Cohort, members
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.study.files import fingerprint
from ehrfm_core.study.layout import FITTED_MAPS, MAPS

ID = "hospitalization_id"
SIDES = {"a": state.COHORT_A, "b": state.COHORT_B}
FORMAT = "EHR dynamics cohort, version 1"
MAX_LINK = 4_000  # characters of a rule in a link; the longest we write has about 1,500
_MAX_TEXT = 60_000
_UNDO = "cohort_undo"
_DRAWN = "cohort_drawn"  # how often drawings were wiped off the maps
_KEPT = 20


def encode(cohort: Cohort) -> str:
    """A cohort's rule as a word for a link."""
    return base64.urlsafe_b64encode(zlib.compress(cohort.text().encode(), 9)).decode().rstrip("=")


def decode(word: str) -> Cohort:
    """The cohort of such a word; raises UserError for any other."""
    try:
        if len(word) > MAX_LINK:
            raise ValueError
        packed = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
        text = zlib.decompressobj().decompress(packed, _MAX_TEXT)
    except (ValueError, binascii.Error, zlib.error):
        raise UserError("This link's cohort cannot be read.") from None
    return Cohort.from_text(text)


def sync() -> None:
    """Take cohorts over from the link, and write those of the session into it."""
    for side, key in SIDES.items():
        raw = st.query_params.get(key)
        if raw is not None:
            try:
                decode(raw)
                st.session_state[_name(side)] = raw
            except UserError:
                state.tell_unknown(key, raw, "cohort")
                st.query_params.pop(key, None)
        elif _name(side) in st.session_state:
            st.query_params[key] = st.session_state[_name(side)]


def held(side: str) -> Cohort | None:
    """Cohort A ("a") or B ("b"), whichever study it was made on; None where there is none."""
    word = st.session_state.get(_name(side))
    return decode(word) if word else None


def usable(study: Study, side: str) -> Cohort | None:
    """Cohort A or B where it can be evaluated on this study."""
    cohort = held(side)
    return None if cohort is None or problem(study, cohort) else cohort


def put(side: str, cohort: Cohort | None) -> None:
    """Set cohort A or B."""
    _set({side: encode(cohort) if cohort else None})


def clear(*sides: str) -> None:
    """Forget cohorts, and wipe what was drawn off the maps."""
    wipe()
    _set(dict.fromkeys(sides))


def swap() -> None:
    """A becomes B and B becomes A."""
    wipe()
    now = _now()
    _set({"a": now["b"], "b": now["a"]})


def undo() -> None:
    """Go back to what was there before the last change."""
    wipe()
    _write(st.session_state[_UNDO].pop())


def can_undo() -> bool:
    """Whether there was a change."""
    return bool(st.session_state.get(_UNDO))


def wipe() -> None:
    """Draw the maps anew without regions: those no longer say what A or B is."""
    st.session_state[_DRAWN] = drawing() + 1


def drawing() -> int:
    """Number that changes when regions must go from the maps."""
    return int(st.session_state.get(_DRAWN, 0))


def _name(side: str) -> str:
    return f"cohort_{side}"


def _now() -> dict[str, str | None]:
    return {side: st.session_state.get(_name(side)) for side in SIDES}


def _set(changes: dict[str, str | None]) -> None:
    before = _now()
    if before | changes != before:
        st.session_state[_UNDO] = [*st.session_state.get(_UNDO, []), before][-_KEPT:]
        _write(before | changes)


def _write(words: dict[str, str | None]) -> None:
    for side, word in words.items():
        if word:
            st.session_state[_name(side)] = st.query_params[SIDES[side]] = word
            continue
        st.session_state.pop(_name(side), None)
        st.query_params.pop(SIDES[side], None)
        if st.session_state.get(state.GROUP) == side:  # a table of nobody
            st.session_state[state.GROUP] = "test"


def map_digest(study: Study) -> str:
    """Names the maps of a study: a region drawn on others means nothing here."""
    files = study.manifest.stages["embed"].files if study.has("embed") else {}
    return fingerprint({path: files.get(path, "") for path in (MAPS, FITTED_MAPS)})[:10]


def made_here(study: Study, **parts: Any) -> Cohort:
    """A cohort from `Cohort.of`'s parts that says on which version of the study and its maps it was made."""
    return Cohort.of(**parts, study=study.digest, map=map_digest(study) if parts.get("regions") else "")


def problem(study: Study, cohort: Cohort) -> str | None:
    """Why a cohort is not evaluated on this study, as a sentence; None where it is."""
    here = map_digest(study)
    if cohort.regions and cohort.map != here:
        return (
            f"It was drawn on another map (version {cohort.map or 'unknown'}; this is {here}): the same "
            "place here holds other patients. Draw it again."
        )
    if cohort.study != study.digest:
        made = cohort.study or "unknown"
        return f"It was made on another version of the study ({made}; this is {study.digest})."
    try:
        ids(study, cohort)
    except UserError as error:
        return str(error)
    return None


def adopted(study: Study, cohort: Cohort) -> Cohort | None:
    """The same rule for this study, where it can be: without regions, or drawn on the same maps."""
    if cohort.regions and cohort.map != map_digest(study):
        return None
    return Cohort(cohort.levels, cohort.ranges, cohort.flags, cohort.regions, study.digest, cohort.map)


def ids(study: Study, cohort: Cohort) -> pl.DataFrame:
    """Columns site and hospitalization_id: the members, of every site."""
    return _ids(str(study.folder), study.digest, cohort.text())


@st.cache_resource(max_entries=24, show_spinner=False)
def _ids(folder: str, digest: str, text: str) -> pl.DataFrame:
    study, cohort = data.open_study(folder), Cohort.from_text(text)
    found = []
    for site in study.sites:
        kept = members(cohort, site, data.stays(study, site), lambda site=site: _paths(study, site))  # type: ignore[misc]
        found.append(kept.select(pl.lit(site).alias("site"), ID))
    return pl.concat(found)


def _paths(study: Study, site: str) -> pl.DataFrame:
    if not study.has("embed"):
        raise UserError("The cohort has a region, and this study has no maps yet; run embed.")
    return data.paths(study, site)


def everyone(study: Study) -> pl.DataFrame:
    """`data.stays` of every site, with a column site."""
    frames = [data.stays(study, site).with_columns(pl.lit(site).alias("site")) for site in study.sites]
    return pl.concat(frames, how="diagonal_relaxed")


def stays(study: Study, cohort: Cohort) -> pl.DataFrame:
    """`everyone`, members only."""
    return everyone(study).join(ids(study, cohort), on=["site", ID], how="semi", maintain_order="left")


def to_file(cohort: Cohort, *, synthetic: bool) -> str:
    """A cohort as a file to be opened later."""
    content = {"format": FORMAT, "id": cohort.id, "synthetic": synthetic, "cohort": cohort.to_json()}
    return json.dumps(content, indent=2)


def from_file(content: bytes) -> Cohort:
    """What `to_file` gave; raises UserError for anything else."""
    try:
        read = json.loads(content[:_MAX_TEXT])
    except (ValueError, RecursionError):
        read = None
    return Cohort.from_json(read.get("cohort") if isinstance(read, dict) else None)
