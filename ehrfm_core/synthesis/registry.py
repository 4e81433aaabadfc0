"""Who, when, where and how it ended: patient, hospitalization, adt, code_status."""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.synthesis.charting.breathing import at_changes, changes
from ehrfm_core.synthesis.hospital import EPOCH, RACES
from ehrfm_core.synthesis.latent.care import (
    CODE,
    CODES,
    COMFORT,
    DEVICE,
    ED,
    ICU,
    IMV,
    PLACE,
    PLACES,
    TRACHEOSTOMY,
)
from ehrfm_core.synthesis.latent.physiology import REASONS
from ehrfm_core.synthesis.latent.step import AGE, DIED, FRAILTY, HOURS_A_YEAR, PLANNED, REASON
from ehrfm_core.synthesis.tables import ID, PATIENT, Tables, texts

UNITS_OF_REASON = {
    **dict.fromkeys(("heart",), "cardiac_icu"),
    **dict.fromkeys(("elective_surgery", "trauma"), "surgical_icu"),
    **dict.fromkeys(("cardiac_surgery",), "cardiothoracic_surgical_icu"),
    **dict.fromkeys(("brain",), "mixed_neuro_icu"),
}


def patient(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """One row a patient who has a stay."""
    stays, patients = tables.chart.stays, tables.chart.patients
    who, first = np.unique(stays.patient, return_index=True)
    born = (stays.admission[first] - stays.traits[first, AGE] * HOURS_A_YEAR) * 3_600_000_000.0
    dead = np.full(len(patients.age), -1, dtype=np.int64)
    died = np.flatnonzero(stays.exit == DIED)
    dead[stays.patient[died]] = died
    last = dead[who]
    gone = tables.time(np.maximum(last, 0), tables.chart.minutes[np.maximum(last, 0)])
    ethnicity = np.where(patients.hispanic[who] > 0, 0, np.where(patients.race[who] == 6, 2, 1))
    return pl.DataFrame(
        {
            PATIENT: tables.patient_ids.gather(who),
            "birth_date": (pl.Series(born.astype(np.int64)).cast(pl.Duration("us")) + EPOCH).dt.date(),
            "death_dttm": pl.select(pl.when(pl.Series(last >= 0)).then(gone)).to_series(),
            "race_category": texts(patients.race[who], RACES),
            "ethnicity_category": texts(ethnicity, ("Hispanic", "Non-Hispanic", "Unknown")),
            "sex_category": texts(patients.female[who], ("Male", "Female")),
            "language_category": texts(
                (patients.hispanic[who] > 0) & (rng.random(len(who)) < 0.5), ("English", "Spanish")
            ),
        }
    )


def hospitalization(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """One row a stay."""
    stays = tables.chart.stays
    everyone = np.arange(len(stays.hours))
    start = stays.care[stays.offset[:-1], PLACE]
    sent = np.where(rng.random(len(everyone)) < 0.35, 3, 2)
    kind = np.where(stays.traits[:, PLANNED] > 0, 1, np.where(start == ED, 0, sent))
    return pl.DataFrame(
        {
            PATIENT: tables.patient_ids.gather(stays.patient),
            ID: tables.stay_ids,
            "admission_dttm": tables.time(everyone, np.zeros_like(everyone)),
            "discharge_dttm": tables.time(everyone, tables.chart.minutes),
            "age_at_admission": np.floor(stays.traits[:, AGE]).astype(np.int64),
            "admission_type_category": texts(kind, ("ed", "elective", "direct", "osh")),
            "discharge_category": _discharge(tables, rng),
        }
    )


def _discharge(tables: Tables, rng: np.random.Generator) -> pl.Series:
    """Where patients go: the dead nowhere, comfort care to a hospice, the old and frail to a facility."""
    stays = tables.chart.stays
    last = stays.care[stays.offset[1:] - 1]
    places = (
        *(
            "Home",
            "Skilled Nursing Facility (SNF)",
            "Acute Inpatient Rehab Facility",
            "Expired",
            "Hospice",
        ),
        *("Long Term Care Hospital (LTACH)", "Against Medical Advice (AMA)"),
    )
    chance = rng.random((2, len(stays.hours)))
    need = 0.045 * (stays.traits[:, AGE] - 74.0) + 0.5 * stays.traits[:, FRAILTY] + 0.004 * stays.hours
    helped = chance[0] < 1.0 / (1.0 + np.exp(-(need - 1.0)))
    kind = np.where(helped, np.where(chance[1] < 0.22, 2, 1), np.where(chance[1] < 0.012, 6, 0))
    still = (last[:, TRACHEOSTOMY] > 0) | (last[:, PLACE] == ICU) | (last[:, DEVICE] == IMV)
    kind = np.where(still, 5, kind)
    kind = np.where(last[:, CODE] == COMFORT, 4, kind)
    return texts(np.where(stays.exit == DIED, 3, kind), places)


def adt(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Where the patient was, from when to when."""
    chart = tables.chart
    place = chart.care_of(PLACE)
    rows, after = changes(chart, place)
    at = at_changes(chart, rows)
    n = len(chart.stays.hours)
    first = np.flatnonzero(chart.hour == 0)
    stay = np.concatenate([np.arange(n), at.stay])
    minute = np.concatenate([np.zeros(n, dtype=np.int64), at.minute])
    where = np.concatenate([place[first], after]).astype(np.int64)
    order = np.lexsort((minute, stay))
    stay, minute, where = stay[order], minute[order], where[order]
    ends = np.r_[stay[1:] != stay[:-1], True]
    until = np.where(ends, chart.minutes[stay], np.r_[minute[1:], 0])
    icus = np.array([UNITS_OF_REASON.get(reason, "medical_icu") for reason in REASONS])
    names = sorted(set(icus))
    kind = np.searchsorted(names, icus)[chart.stays.traits[stay, REASON].astype(np.int64)]
    return tables.frame(
        stay,
        minute,
        {
            "hospital_id": pl.Series([chart.hospital.name], dtype=pl.String).new_from_index(0, len(stay)),
            "hospital_type": pl.Series(["academic"]).new_from_index(0, len(stay)),
            "out_dttm": tables.time(stay, until),
            "location_category": texts(where, PLACES),
            "location_type": texts(np.where(where == ICU, kind, -1), names),
        },
        time="in_dttm",
    )


def code_status(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Code status at admission, and each change."""
    chart = tables.chart
    status = chart.care_of(CODE)
    rows, after = changes(chart, status)
    at = at_changes(chart, rows)
    first = np.flatnonzero(chart.hour == 0)
    n = len(first)
    stay = np.concatenate([np.arange(n), at.stay])
    minute = np.concatenate([np.zeros(n, dtype=np.int64), at.minute])
    code = np.concatenate([status[first], after]).astype(np.int64)
    return tables.frame(
        stay, minute, {"code_status_category": texts(code, CODES)}, time="start_dttm", key=PATIENT
    )
