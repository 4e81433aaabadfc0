"""What is charted as CLIF tables: vitals, labs, support, drugs, assessments, position, CRRT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ehrfm_core.synthesis import registry
from ehrfm_core.synthesis.charting import drugs, nursing
from ehrfm_core.synthesis.charting.breathing import chart_crrt, chart_position, chart_support
from ehrfm_core.synthesis.charting.laboratory import LABS, PANELS
from ehrfm_core.synthesis.charting.orders import chart_labs
from ehrfm_core.synthesis.charting.vitals import VITALS, chart_vitals
from ehrfm_core.synthesis.latent.care import DEVICES
from ehrfm_core.synthesis.tables import Tables, texts


def vitals(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Vital signs."""
    stay, minute, kind, value = chart_vitals(tables.chart, rng)
    return tables.frame(
        stay, minute, {"vital_category": texts(kind, VITALS), "vital_value": value}, kind=kind
    )


def labs(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Laboratory results."""
    found = chart_labs(tables.chart, rng)
    stay = found["stay"]
    orders = [panel.order for panel in PANELS.values()]
    specimen = np.zeros(len(stay), dtype=np.int64)
    return tables.frame(
        stay,
        found["resulted"],
        {
            "lab_order_dttm": tables.time(stay, found["ordered"]),
            "lab_collect_dttm": tables.time(stay, found["collected"]),
            "lab_order_category": texts(found["panel"], orders),
            "lab_category": texts(found["lab"], list(LABS)),
            "lab_value": pl.Series(found["value"]).cast(pl.String),
            "lab_value_numeric": found["value"],
            "reference_unit": texts(found["lab"], [lab.unit for lab in LABS.values()]),
            "lab_specimen_category": texts(specimen, ("blood/plasma/serum",)),
        },
        kind=found["lab"],
        time="lab_result_dttm",
    )


def respiratory_support(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Devices and their settings."""
    stay, minute, columns = chart_support(tables.chart, rng)
    modes = (tables.chart.hospital.measurement.volume_mode, "Pressure Support/CPAP")
    named = {
        "device_category": texts(columns.pop("device"), DEVICES),
        "mode_category": texts(columns.pop("mode"), modes),
    }
    return tables.frame(stay, minute, named | columns)


def medication_admin_continuous(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Infusions."""
    stay, minute, drug, dose, action = drugs.chart_infusions(tables.chart, rng)
    known = list(drugs.INFUSIONS.values())
    group = np.where(action == 2, 1, 0)
    return tables.frame(
        stay,
        minute,
        {
            "med_category": texts(drug, list(drugs.INFUSIONS)),
            "med_group": texts(drug, [d.group for d in known]),
            "med_route_category": texts(np.zeros(len(stay), dtype=np.int64), ("iv",)),
            "med_dose": dose.astype(np.float64),
            "med_dose_unit": texts(drug, [d.unit for d in known]),
            "mar_action_category": texts(action, drugs.ACTIONS),
            "mar_action_group": texts(group, ("administered", "not_administered")),
        },
        kind=drug,
        time="admin_dttm",
    )


def medication_admin_intermittent(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Single doses."""
    stay, minute, drug = drugs.chart_doses(tables.chart, rng)
    group, unit, dose, route = zip(*drugs.DOSES.values(), strict=True)
    given = np.zeros(len(stay), dtype=np.int64)
    return tables.frame(
        stay,
        minute,
        {
            "med_category": texts(drug, list(drugs.DOSES)),
            "med_group": texts(drug, group),
            "med_route_category": texts(drug, route),
            "med_dose": np.array(dose)[drug],
            "med_dose_unit": texts(drug, unit),
            "mar_action_category": texts(given, ("given",)),
            "mar_action_group": texts(given, ("administered",)),
        },
        kind=drug,
        time="admin_dttm",
    )


def patient_assessments(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Assessments: a number, or an answer."""
    found = nursing.chart_assessments(tables.chart, rng)
    answers: list[str] = []
    begin = np.full(len(nursing.NAMES), -1)
    for index, (_, options) in enumerate(nursing.ASSESSMENTS.values()):
        if options:
            begin[index] = len(answers)
            answers += options
    answered = begin[found.kind] >= 0
    answer = np.where(answered, begin[found.kind] + found.value.astype(np.int64), -1)
    nothing = np.full(len(answer), -1)
    return tables.frame(
        found.stay,
        found.minute,
        {
            "assessment_category": texts(found.kind, nursing.NAMES),
            "assessment_group": texts(found.kind, [group for group, _ in nursing.ASSESSMENTS.values()]),
            "numerical_value": np.where(answered, np.nan, found.value),
            "categorical_value": texts(answer, answers),
            "text_value": texts(nothing, ("",)),
        },
        kind=found.kind,
    )


def position(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Prone or not."""
    stay, minute, prone = chart_position(tables.chart, rng)
    return tables.frame(stay, minute, {"position_category": texts(prone, ("not_prone", "prone"))})


def crrt_therapy(tables: Tables, rng: np.random.Generator) -> pl.DataFrame:
    """Continuous renal replacement."""
    stay, minute, columns = chart_crrt(tables.chart, rng)
    mode = texts(np.zeros(len(stay), dtype=np.int64), ("cvvhdf",))
    return tables.frame(stay, minute, {"crrt_mode_category": mode, **columns})


MAKERS: dict[str, Callable[[Tables, np.random.Generator], pl.DataFrame]] = {
    "patient": registry.patient,
    "hospitalization": registry.hospitalization,
    "vitals": vitals,
    "labs": labs,
    "respiratory_support": respiratory_support,
    "medication_admin_continuous": medication_admin_continuous,
    "medication_admin_intermittent": medication_admin_intermittent,
    "patient_assessments": patient_assessments,
    "position": position,
    "crrt_therapy": crrt_therapy,
    "adt": registry.adt,
    "code_status": registry.code_status,
}
