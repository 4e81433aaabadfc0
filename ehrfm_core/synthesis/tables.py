"""The tables of a hospital in CLIF 2.1, for the stays of one chart. Times are UTC; the hospitals keep UTC − 5 h."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import polars as pl

from ehrfm_core.synthesis import drugs, nursing
from ehrfm_core.synthesis.breathing import at_changes, changes, chart_crrt, chart_position, chart_support
from ehrfm_core.synthesis.care import (
    CODE,
    CODES,
    COMFORT,
    DEVICES,
    ED,
    ICU,
    PLACE,
    PLACES,
    TRACHEOSTOMY,
)
from ehrfm_core.synthesis.chart import Chart
from ehrfm_core.synthesis.hospital import EPOCH, RACES
from ehrfm_core.synthesis.laboratory import LABS, PANELS
from ehrfm_core.synthesis.orders import chart_labs
from ehrfm_core.synthesis.physiology import REASONS
from ehrfm_core.synthesis.simulate import AGE, DIED, FRAILTY, HOURS_A_YEAR, PLANNED, REASON
from ehrfm_core.synthesis.vitals import VITALS, chart_vitals

LOCAL = timedelta(hours=5)
TIME = pl.Datetime("us", "UTC")
UNITS_OF_REASON = {
    **dict.fromkeys(("heart",), "cardiac_icu"),
    **dict.fromkeys(("elective_surgery", "trauma"), "surgical_icu"),
    **dict.fromkeys(("cardiac_surgery",), "cardiothoracic_surgical_icu"),
    **dict.fromkeys(("brain",), "mixed_neuro_icu"),
}
ID, PATIENT = "hospitalization_id", "patient_id"


def texts(codes: np.ndarray, names: Sequence[str | None]) -> pl.Series:
    """Text by number; −1 is null.

    >>> texts(np.array([1, -1]), ["a", "b"]).to_list()
    ['b', None]
    """
    found = pl.Series(list(names), dtype=pl.String)
    codes = np.asarray(codes, dtype=np.int64)
    if len(codes) and codes.min() >= 0:
        return found.gather(codes)
    known = pl.Series(codes >= 0)
    return found.gather(np.maximum(codes, 0)).zip_with(known, pl.Series([None], dtype=pl.String))


@dataclass(frozen=True, eq=False)
class Tables:
    """CLIF tables of a chart; `stay_numbers` (stays) and `patient_numbers` (patients) become its ids."""

    chart: Chart
    stay_numbers: np.ndarray
    patient_numbers: np.ndarray

    @cached_property
    def stay_ids(self) -> pl.Series:
        """hospitalization_id of each stay."""
        return pl.Series(self.stay_numbers).cast(pl.String)

    @cached_property
    def patient_ids(self) -> pl.Series:
        """patient_id of each patient."""
        return pl.Series(self.patient_numbers).cast(pl.String)

    @cached_property
    def admitted(self) -> np.ndarray:
        """Admission of each stay in minutes since EPOCH, local time."""
        return np.round(self.chart.stays.admission * 60.0).astype(np.int64)

    def time(self, stay: np.ndarray, minute: np.ndarray) -> pl.Series:
        """UTC time of minutes since the admission of a stay."""
        micros = (self.admitted[stay] + minute) * 60_000_000
        return (pl.Series(micros).cast(pl.Duration("us")) + (EPOCH + LOCAL)).cast(TIME)

    def frame(
        self,
        stay: np.ndarray,
        minute: np.ndarray,
        columns: dict[str, pl.Series | np.ndarray],
        *,
        kind: np.ndarray | None = None,
        time: str = "recorded_dttm",
        key: str = ID,
    ) -> pl.DataFrame:
        """Rows of a table in order of stay and time, one a stay, minute and `kind`; NaN becomes null."""
        kind = np.zeros(len(stay), dtype=np.int64) if kind is None else kind
        order = np.lexsort((kind, minute, stay))
        same = np.ones(max(len(order) - 1, 0), dtype=bool)
        for values in (stay, minute, kind):
            same &= values[order[1:]] == values[order[:-1]]
        order = order[np.r_[True, ~same]] if len(order) else order
        owner = stay if key == ID else self.chart.stays.patient[stay]
        ids = (self.stay_ids if key == ID else self.patient_ids).gather(owner)
        frame = pl.DataFrame({key: ids, time: self.time(stay, minute), **columns})
        numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
        return frame[order].with_columns(pl.col(numbers).fill_nan(None))

    def patient(self, rng: np.random.Generator) -> pl.DataFrame:
        """One row a patient who has a stay."""
        stays, patients = self.chart.stays, self.chart.patients
        who, first = np.unique(stays.patient, return_index=True)
        born = (stays.admission[first] - stays.traits[first, AGE] * HOURS_A_YEAR) * 3_600_000_000.0
        dead = np.full(len(patients.age), -1, dtype=np.int64)
        died = np.flatnonzero(stays.exit == DIED)
        dead[stays.patient[died]] = died
        last = dead[who]
        gone = self.time(np.maximum(last, 0), self.chart.minutes[np.maximum(last, 0)])
        ethnicity = np.where(patients.hispanic[who] > 0, 0, np.where(patients.race[who] == 6, 2, 1))
        return pl.DataFrame(
            {
                PATIENT: self.patient_ids.gather(who),
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

    def hospitalization(self, rng: np.random.Generator) -> pl.DataFrame:
        """One row a stay."""
        stays = self.chart.stays
        everyone = np.arange(len(stays.hours))
        start = stays.care[stays.offset[:-1], PLACE]
        sent = np.where(rng.random(len(everyone)) < 0.35, 3, 2)
        kind = np.where(stays.traits[:, PLANNED] > 0, 1, np.where(start == ED, 0, sent))
        return pl.DataFrame(
            {
                PATIENT: self.patient_ids.gather(stays.patient),
                ID: self.stay_ids,
                "admission_dttm": self.time(everyone, np.zeros_like(everyone)),
                "discharge_dttm": self.time(everyone, self.chart.minutes),
                "age_at_admission": np.floor(stays.traits[:, AGE]).astype(np.int64),
                "admission_type_category": texts(kind, ("ed", "elective", "direct", "osh")),
                "discharge_category": self._discharge(rng),
            }
        )

    def _discharge(self, rng: np.random.Generator) -> pl.Series:
        """Where patients go: the dead nowhere, comfort care to a hospice, the old and frail to a facility."""
        stays = self.chart.stays
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
        kind = np.where(last[:, TRACHEOSTOMY] > 0, 5, kind)
        kind = np.where(last[:, CODE] == COMFORT, 4, kind)
        return texts(np.where(stays.exit == DIED, 3, kind), places)

    def adt(self) -> pl.DataFrame:
        """Where the patient was, from when to when."""
        chart = self.chart
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
        return self.frame(
            stay,
            minute,
            {
                "hospital_id": pl.Series([chart.hospital.name], dtype=pl.String).new_from_index(0, len(stay)),
                "hospital_type": pl.Series(["academic"]).new_from_index(0, len(stay)),
                "out_dttm": self.time(stay, until),
                "location_category": texts(where, PLACES),
                "location_type": texts(np.where(where == ICU, kind, -1), names),
            },
            time="in_dttm",
        )

    def vitals(self, rng: np.random.Generator) -> pl.DataFrame:
        """Vital signs."""
        stay, minute, kind, value = chart_vitals(self.chart, rng)
        return self.frame(
            stay, minute, {"vital_category": texts(kind, VITALS), "vital_value": value}, kind=kind
        )

    def labs(self, rng: np.random.Generator) -> pl.DataFrame:
        """Laboratory results."""
        found = chart_labs(self.chart, rng)
        stay = found["stay"]
        orders = [panel.order for panel in PANELS.values()]
        specimen = np.zeros(len(stay), dtype=np.int64)
        return self.frame(
            stay,
            found["resulted"],
            {
                "lab_order_dttm": self.time(stay, found["ordered"]),
                "lab_collect_dttm": self.time(stay, found["collected"]),
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

    def respiratory_support(self, rng: np.random.Generator) -> pl.DataFrame:
        """Devices and their settings."""
        stay, minute, columns = chart_support(self.chart, rng)
        modes = (self.chart.hospital.measurement.volume_mode, "Pressure Support/CPAP")
        named = {
            "device_category": texts(columns.pop("device"), DEVICES),
            "mode_category": texts(columns.pop("mode"), modes),
        }
        return self.frame(stay, minute, named | columns)

    def medication_admin_continuous(self, rng: np.random.Generator) -> pl.DataFrame:
        """Infusions."""
        stay, minute, drug, dose, action = drugs.chart_infusions(self.chart, rng)
        known = list(drugs.INFUSIONS.values())
        group = np.where(action == 2, 1, 0)
        return self.frame(
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

    def medication_admin_intermittent(self, rng: np.random.Generator) -> pl.DataFrame:
        """Single doses."""
        stay, minute, drug = drugs.chart_doses(self.chart, rng)
        group, unit, dose, route = zip(*drugs.DOSES.values(), strict=True)
        given = np.zeros(len(stay), dtype=np.int64)
        return self.frame(
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

    def patient_assessments(self, rng: np.random.Generator) -> pl.DataFrame:
        """Assessments: a number, or an answer."""
        found = nursing.chart_assessments(self.chart, rng)
        answers: list[str] = []
        begin = np.full(len(nursing.NAMES), -1)
        for index, (_, options) in enumerate(nursing.ASSESSMENTS.values()):
            if options:
                begin[index] = len(answers)
                answers += options
        answered = begin[found.kind] >= 0
        answer = np.where(answered, begin[found.kind] + found.value.astype(np.int64), -1)
        nothing = np.full(len(answer), -1)
        return self.frame(
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

    def position(self, rng: np.random.Generator) -> pl.DataFrame:
        """Prone or not."""
        stay, minute, prone = chart_position(self.chart, rng)
        return self.frame(stay, minute, {"position_category": texts(prone, ("not_prone", "prone"))})

    def crrt_therapy(self, rng: np.random.Generator) -> pl.DataFrame:
        """Continuous renal replacement."""
        stay, minute, columns = chart_crrt(self.chart, rng)
        mode = texts(np.zeros(len(stay), dtype=np.int64), ("cvvhdf",))
        return self.frame(stay, minute, {"crrt_mode_category": mode, **columns})

    def code_status(self) -> pl.DataFrame:
        """Code status at admission, and each change."""
        chart = self.chart
        status = chart.care_of(CODE)
        rows, after = changes(chart, status)
        at = at_changes(chart, rows)
        first = np.flatnonzero(chart.hour == 0)
        n = len(first)
        stay = np.concatenate([np.arange(n), at.stay])
        minute = np.concatenate([np.zeros(n, dtype=np.int64), at.minute])
        code = np.concatenate([status[first], after]).astype(np.int64)
        return self.frame(
            stay, minute, {"code_status_category": texts(code, CODES)}, time="start_dttm", key=PATIENT
        )


FIXED: dict[str, Callable[[Tables], pl.DataFrame]] = {
    "adt": Tables.adt,
    "code_status": Tables.code_status,
}
CHARTED: dict[str, Callable[[Tables, np.random.Generator], pl.DataFrame]] = {
    "patient": Tables.patient,
    "hospitalization": Tables.hospitalization,
    "vitals": Tables.vitals,
    "labs": Tables.labs,
    "respiratory_support": Tables.respiratory_support,
    "medication_admin_continuous": Tables.medication_admin_continuous,
    "medication_admin_intermittent": Tables.medication_admin_intermittent,
    "patient_assessments": Tables.patient_assessments,
    "position": Tables.position,
    "crrt_therapy": Tables.crrt_therapy,
}
