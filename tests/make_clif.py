"""Small CLIF directories for tests: plausible, seeded, quick to change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

Tables = dict[str, pl.DataFrame]
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
ID = "hospitalization_id"


def make_tables(*, patients: int = 12, seed: int = 0) -> Tables:
    """CLIF tables of `patients` patients, every third of whom has a second stay."""
    rng = np.random.default_rng(seed)
    stays = []
    for patient in range(patients):
        for visit in range(2 if patient % 3 == 0 else 1):
            admission = BEGIN + timedelta(days=10 * patient + 200 * visit, hours=int(rng.integers(24)))
            stays.append((f"p{patient}", f"s{patient}-{visit}", admission, float(rng.integers(30, 260))))
    ids = [stay[1] for stay in stays]
    tables = {
        "patient": pl.DataFrame(
            {
                "patient_id": [f"p{i}" for i in range(patients)],
                "race_category": rng.choice(["White", "Black or African American", "Other"], patients),
                "ethnicity_category": rng.choice(["Hispanic", "Non-Hispanic"], patients),
                "sex_category": rng.choice(["Female", "Male"], patients),
            }
        ),
        "hospitalization": pl.DataFrame(
            {
                "patient_id": [stay[0] for stay in stays],
                ID: ids,
                "admission_dttm": [stay[2] for stay in stays],
                "discharge_dttm": [stay[2] + timedelta(hours=stay[3]) for stay in stays],
                "age_at_admission": rng.integers(19, 95, len(stays)),
                "admission_type_category": rng.choice(["ed", "elective"], len(stays)),
                "discharge_category": rng.choice(["Home", "Expired", "Hospice"], len(stays)),
            }
        ),
    }

    def rows(n: int) -> tuple[list[str], list[datetime]]:
        picked = rng.integers(len(stays), size=n)
        hours = [rng.uniform(-3, stays[i][3]) for i in picked]
        return [ids[i] for i in picked], [
            stays[i][2] + timedelta(seconds=int(h * 3600)) for i, h in zip(picked, hours, strict=True)
        ]

    n = 40 * len(stays)
    who, when = rows(n)
    tables["vitals"] = pl.DataFrame(
        {
            ID: who,
            "recorded_dttm": when,
            "vital_category": rng.choice(["heart_rate", "sbp", "spo2"], n),
            "vital_value": rng.normal(90, 20, n).round(1),
        }
    )
    who, when = rows(n)
    tables["labs"] = pl.DataFrame(
        {
            ID: who,
            "lab_result_dttm": when,
            "lab_category": rng.choice(["potassium", "lactate", "sodium"], n),
            "lab_value_numeric": rng.gamma(4, 1, n).round(2),
        }
    )
    who, when = rows(4 * len(stays))
    tables["adt"] = pl.DataFrame(
        {ID: who, "in_dttm": when, "location_category": rng.choice(["ed", "ward", "icu"], len(who))}
    )
    who, when = rows(3 * len(stays))
    tables["respiratory_support"] = pl.DataFrame(
        {
            ID: who,
            "recorded_dttm": when,
            "device_category": rng.choice(["IMV", "Nasal Cannula"], len(who)),
            "mode_category": ["SIMV" if flag else None for flag in rng.random(len(who)) < 0.5],
        }
    )
    who, when = rows(6 * len(stays))
    tables["medication_admin_continuous"] = pl.DataFrame(
        {
            ID: who,
            "admin_dttm": when,
            "med_category": rng.choice(["propofol", "heparin"], len(who)),
            "med_dose": rng.gamma(2, 3, len(who)).round(2),
        }
    )
    who, when = rows(6 * len(stays))
    numeric = rng.random(len(who)) < 0.5
    tables["patient_assessments"] = pl.DataFrame(
        {
            ID: who,
            "recorded_dttm": when,
            "assessment_category": np.where(numeric, "gcs_total", "sbt"),
            "numerical_value": np.where(numeric, rng.integers(3, 16, len(who)).astype(float), np.nan),
            "categorical_value": [None if flag else "Pass" for flag in numeric],
        }
    ).with_columns(pl.col("numerical_value").fill_nan(None))
    who, when = rows(len(stays))
    tables["position"] = pl.DataFrame(
        {ID: who, "recorded_dttm": when, "position_category": rng.choice(["prone", "not_prone"], len(who))}
    )
    return tables


def write_tables(tables: Tables, folder: Path) -> Path:
    """Write the tables as a CLIF directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"clif_{name}.parquet")
    return folder


TIMES = {
    "vitals": "recorded_dttm",
    "labs": "lab_result_dttm",
    "adt": "in_dttm",
    "respiratory_support": "recorded_dttm",
    "medication_admin_continuous": "admin_dttm",
    "patient_assessments": "recorded_dttm",
    "position": "recorded_dttm",
}


def starts(tables: Tables) -> pl.DataFrame:
    """Id and start of each stay: the earlier of admission and first vital within a day before it."""
    stays = tables["hospitalization"].select(ID, "admission_dttm")
    first = (
        tables["vitals"]
        .join(stays, on=ID)
        .filter(pl.col("recorded_dttm") >= pl.col("admission_dttm") - pl.duration(hours=24))
        .group_by(ID)
        .agg(pl.col("recorded_dttm").min().alias("first"))
    )
    return stays.join(first, on=ID, how="left").select(
        ID, pl.min_horizontal("admission_dttm", "first").alias("start")
    )


def change_after(tables: Tables, hours: float, *, seed: int) -> Tables:
    """The same tables with every event later than `hours` after the start moved, revalued or dropped."""
    rng = np.random.default_rng(seed)
    begin = starts(tables)
    changed = dict(tables)
    for name, time in TIMES.items():
        table = tables[name].join(begin, on=ID, how="left", maintain_order="left")
        late = pl.col(time) > pl.col("start") + pl.duration(hours=hours)
        table = table.with_columns(late.alias("late"), pl.Series("keep", rng.random(table.height) < 0.6))
        table = table.filter(~pl.col("late") | pl.col("keep"))
        for column in ("vital_value", "lab_value_numeric", "med_dose", "numerical_value"):
            if column in table.columns:
                table = table.with_columns(
                    pl.when("late").then(pl.col(column) * 7 + 1).otherwise(pl.col(column)).alias(column)
                )
        table = table.with_columns(
            pl.when("late").then(pl.col(time) + pl.duration(minutes=3)).otherwise(pl.col(time)).alias(time)
        )
        changed[name] = table.drop("start", "late", "keep")
    return changed


def make_all_tables(*, patients: int = 12, seed: int = 0) -> Tables:
    """`make_tables` with every table and column that the map `all` reads; times of labs, doses with units."""
    tables = make_tables(patients=patients, seed=seed)
    rng = np.random.default_rng(seed + 1)
    stays = tables["hospitalization"]
    tables["adt"] = tables["adt"].with_columns(
        (pl.col("in_dttm") + pl.duration(hours=5)).alias("out_dttm"),
    )
    n = tables["labs"].height
    tables["labs"] = tables["labs"].with_columns(
        (pl.col("lab_result_dttm") - pl.duration(minutes=90)).alias("lab_order_dttm"),
        (pl.col("lab_result_dttm") - pl.duration(minutes=40)).alias("lab_collect_dttm"),
        pl.Series("lab_specimen_category", rng.choice(["blood/plasma/serum", "urine"], n)),
        pl.Series("lab_order_category", rng.choice(["bmp", "cbc"], n)),
    )
    doses = tables["medication_admin_continuous"]
    tables["medication_admin_continuous"] = doses.with_columns(
        pl.Series("med_dose_unit", rng.choice(["mcg/min", "mcg/kg/min"], doses.height, p=[0.8, 0.2])),
        pl.Series("mar_action_category", rng.choice(["start", "dose_change", "stop"], doses.height)),
    )
    tables["medication_admin_intermittent"] = tables["medication_admin_continuous"].with_columns(
        pl.lit("mg").alias("med_dose_unit"),
        pl.Series("mar_action_category", rng.choice(["given", "not_given", "bolus"], doses.height)),
    )
    support = tables["respiratory_support"]
    n = support.height
    settings = ("fio2_set", "lpm_set", "peep_set", "resp_rate_set", "resp_rate_obs", "minute_vent_obs")
    tables["respiratory_support"] = support.with_columns(
        pl.Series("tracheostomy", rng.integers(0, 2, n)),
        *(pl.Series(name, rng.uniform(0.2, 30, n).round(2)) for name in settings),
    )
    tables["crrt_therapy"] = support.select(
        ID,
        "recorded_dttm",
        pl.Series("crrt_mode_category", rng.choice(["cvvh", "cvvhdf"], n)),
        pl.Series("blood_flow_rate", rng.integers(100, 300, n).astype(float)),
        pl.Series("ultrafiltration_out", rng.uniform(0, 300, n).round(1)),
    )
    tables["code_status"] = stays.select(
        "patient_id",
        (pl.col("admission_dttm") + pl.duration(hours=30)).alias("start_dttm"),
        pl.Series("code_status_category", rng.choice(["Full", "DNR/DNI"], stays.height)),
    )
    return tables
