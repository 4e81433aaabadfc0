"""PhysioNet/CinC Challenge 2012 as CLIF 2.1: the first 48 h of ICU stays, with death and length of stay.

A record (`132539.txt`, rows Time,Parameter,Value) becomes one patient with one hospitalization in one ICU.
The data are under the Open Data Commons Attribution License 1.0; cite Silva et al., Predicting in-hospital
mortality of ICU patients: the PhysioNet/Computing in Cardiology Challenge 2012, Computing in Cardiology
2012;39:245–248. https://physionet.org/content/challenge-2012/1.0.0/

Admission is the start of the ICU record (00:00), at an invented time (`clif_writing`). Everything charted in
the 48 h stands at its own time. Discharge is the admission and Length_of_stay days (ICU admission to end of
the hospitalization), Expired where In-hospital_death is 1, else Other. The makers took stays of 48 h or more:
a length below 2 days is taken for 48 h. Length −1 is not known: no discharge time, and the length stays
unknown in a study, while death is what the file says. In-hospital_death is 0 for all of these, as the makers'
definition has it (a death counts if Survival ≤ Length_of_stay); some of them have a Survival of days. A
record without an outcome has neither discharge nor death. Ventilation is seen for 48 h: “ventilation after 24
h” means between 24 and 48 h.

    variable               unit      CLIF table, category                   unit       factor
    HR                     /min      vitals heart_rate                      /min       1
    SysABP, NISysABP       mmHg      vitals sbp (arterial line, cuff)       mmHg       1
    DiasABP, NIDiasABP     mmHg      vitals dbp (arterial line, cuff)       mmHg       1
    MAP, NIMAP             mmHg      vitals map (arterial line, cuff)       mmHg       1
    RespRate               /min      vitals respiratory_rate                /min       1
    Temp                   °C        vitals temp_c                          °C         1
    Height                 cm        vitals height_cm                       cm         1
    Weight                 kg        vitals weight_kg                       kg         1
    GCS                    3–15      patient_assessments gcs_total          3–15       1
    FiO2                   0–1       respiratory_support fio2_set           0.21–1     1
    MechVent               0, 1      respiratory_support device IMV         (of 1s)
    Albumin                g/dL      labs albumin                           g/dL       1
    ALP, ALT, AST          IU/L      labs alkaline_phosphatase, alt, ast    U/L        1
    Bilirubin              mg/dL     labs bilirubin_total                   mg/dL      1
    BUN, Creatinine        mg/dL     labs bun, creatinine                   mg/dL      1
    Glucose                mg/dL     labs glucose_serum                     mg/dL      1
    HCO3, K, Na            mmol/L    labs bicarbonate, potassium, sodium    mmol/L     1
    Lactate                mmol/L    labs lactate                           mmol/L     1
    Mg                     mmol/L¹   labs magnesium                         mg/dL      1
    PaCO2, PaO2            mmHg      labs pco2_arterial, po2_arterial       mmHg       1
    pH                     0–14      labs ph_arterial                                  1
    Platelets, WBC         cells/nL  labs platelet_count, wbc               10³/µL     1
    SaO2                   %         labs so2_arterial                      %          1
    TroponinI, TroponinT   µg/L      labs troponin_i, troponin_t            ng/L       1,000
    Age, Gender            years     hospitalization age_at_admission, patient sex_category
    ICUType                1–4       adt location_type: cardiac_icu, cardiothoracic_surgical_icu, medical_icu,
                                     surgical_icu
    HCT, Cholesterol, Urine          left out: CLIF 2.1 has no category for them

¹ as documented; the values (median 2.0) are mg/dL, in which the normal range is 1.7–2.2. MechVent does not
say how: it is taken for invasive ventilation, without a mode. A lab stands at its charted time as its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.sources.challenge_files import Findings, nothing_read
from ehrfm_core.sources.cinc2012_files import DEATH, HEADER, LENGTH, Records2012, read_files
from ehrfm_core.sources.clif_variables import Counts, Variable, by_table, convert, n_empty
from ehrfm_core.sources.clif_writing import (
    ID,
    INVENTED,
    NAMES,
    TIME,
    Imported,
    event_tables,
    refuse_foreign,
    static_tables,
    with_admission,
    write_all,
)

LEAST_DAYS = 2
LINE, CUFF = "arterial line", "cuff"
VARIABLES = {
    "HR": Variable("heart_rate"),
    "SysABP": Variable("sbp", where=LINE),
    "NISysABP": Variable("sbp", where=CUFF),
    "DiasABP": Variable("dbp", where=LINE),
    "NIDiasABP": Variable("dbp", where=CUFF),
    "MAP": Variable("map", where=LINE),
    "NIMAP": Variable("map", where=CUFF),
    "RespRate": Variable("respiratory_rate"),
    "Temp": Variable("temp_c"),
    "Height": Variable("height_cm"),
    "Weight": Variable("weight_kg"),
    "GCS": Variable("gcs_total"),
    "FiO2": Variable("fio2_set"),
    "MechVent": Variable("imv"),
    "Albumin": Variable("albumin"),
    "ALP": Variable("alkaline_phosphatase"),
    "ALT": Variable("alt"),
    "AST": Variable("ast"),
    "Bilirubin": Variable("bilirubin_total"),
    "BUN": Variable("bun"),
    "Creatinine": Variable("creatinine"),
    "Glucose": Variable("glucose_serum"),
    "HCO3": Variable("bicarbonate"),
    "K": Variable("potassium"),
    "Na": Variable("sodium"),
    "Lactate": Variable("lactate"),
    "Mg": Variable("magnesium"),
    "PaCO2": Variable("pco2_arterial"),
    "PaO2": Variable("po2_arterial"),
    "pH": Variable("ph_arterial"),
    "Platelets": Variable("platelet_count"),
    "SaO2": Variable("so2_arterial"),
    "TroponinI": Variable("troponin_i", 1_000),
    "TroponinT": Variable("troponin_t", 1_000),
    "WBC": Variable("wbc"),
}
DESCRIBE = ("RecordID", "Age", "Gender", "ICUType")
SEXES = {0.0: "Female", 1.0: "Male"}
UNITS = {  # ICUType: folder of --by icu-type, location_type, location_name
    1.0: ("coronary", "cardiac_icu", "Coronary Care Unit"),
    2.0: ("cardiac_surgery", "cardiothoracic_surgical_icu", "Cardiac Surgery Recovery Unit"),
    3.0: ("medical", "medical_icu", "Medical ICU"),
    4.0: ("surgical", "surgical_icu", "Surgical ICU"),
}
TABLES = {f"clif_{name}.parquet" for name in NAMES}


def import_cinc2012(sources: Sequence[Path], out: Path, *, by_unit: bool = False) -> Imported:
    """Write the records of `sources` (folders, archives, files; several sets at once) into `out` as CLIF.

    With `by_unit` into one directory an ICU type below `out`: coronary, cardiac_surgery, medical, surgical.
    Raises UserError where no record can be read, or `out` holds something else.
    """
    refuse_foreign(out, {folder for folder, _, _ in UNITS.values()} if by_unit else TABLES)
    findings = Findings()
    read = read_files(sources, findings)
    if not read.names:
        shape = f"files such as 132539.txt that begin with {HEADER}; give set-a, set-b or set-c"
        told = nothing_read(sources, findings, year=2012, other=2019, strangers=read.strangers, shape=shape)
        raise UserError(told)
    done = Imported()
    if read.strangers:
        done.notes.append(
            f"{read.strangers:,} files are of the Challenge 2019 and left out; for these, `import cinc2019`."
        )
    rows = pl.concat(read.frames)
    records = _records(rows, read, findings, done)
    charted = _charted(rows, done)
    if empty := n_empty(records, charted):
        done.notes.append(f"{empty:,} records have nothing charted that CLIF knows; they keep age and sex.")
    if read.not_numbers:
        done.notes.append(f"{read.not_numbers:,} values are no numbers; they are left out.")
    content: dict[str, pl.DataFrame | str] = {}
    groups = UNITS if by_unit else {None: ("", None, None)}
    for unit, (folder, _, _) in groups.items():
        own = records if unit is None else records.filter(pl.col("ICUType") == unit)
        if own.height:
            for name, table in (static_tables(own, hospital="cinc2012") | event_tables(charted, own)).items():
                content[f"{folder}/clif_{name}.parquet".lstrip("/")] = table
    if by_unit and (unknown := records["unit"].null_count()):
        done.notes.append(
            f"{unknown:,} records name no known ICU type; with --by icu-type they are left out."
        )
    done.rows = write_all(out, content)
    done.notes = [*done.notes, *findings.tell(), INVENTED]
    return done


def _records(rows: pl.DataFrame, read: Records2012, findings: Findings, done: Imported) -> pl.DataFrame:
    """One row a record, in order of id, with everything `clif_writing.static_tables` wants, and ICUType."""
    described = (
        rows.filter(pl.col("name").is_in(DESCRIBE)).group_by("record", "name").agg(pl.col("value").first())
    )
    wide = described.with_columns(pl.col("name").cast(pl.String)).pivot(
        "name", index="record", values="value"
    )
    records = pl.DataFrame(
        {ID: list(read.names), "record": list(read.names.values())},
        schema={ID: pl.String(), "record": pl.UInt32()},
    ).join(wide, on="record", how="left")
    absent = [name for name in DESCRIBE if name not in records.columns]
    records = records.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in absent)
    records = _with_outcomes(with_admission(records), read, done)
    return records.with_columns(
        pl.when(pl.col("Age") >= 0).then("Age").alias("age"),
        pl.col("Gender").replace_strict(SEXES, default="Unknown", return_dtype=pl.String).alias("sex"),
        *(
            pl.col("ICUType")
            .replace_strict(
                {n: told[place] for n, told in UNITS.items()}, default=None, return_dtype=pl.String
            )
            .alias(column)
            for place, column in ((1, "unit"), (2, "unit_name"))
        ),
    )


def _with_outcomes(records: pl.DataFrame, read: Records2012, done: Imported) -> pl.DataFrame:
    schema = {ID: pl.String(), LENGTH: pl.Float64(), DEATH: pl.Float64()}
    told = pl.concat([pl.DataFrame(schema=schema), *read.outcomes])
    single = told.unique(maintain_order=True)
    unclear = single.filter(pl.col(ID).is_duplicated())[ID].n_unique()
    single = single.unique(ID, keep="first", maintain_order=True)
    strangers = single.join(records, on=ID, how="anti").height
    records = records.join(single, on=ID, how="left", maintain_order="left")
    nameless = records[DEATH].null_count()
    short = records.filter((pl.col(LENGTH) >= 0) & (pl.col(LENGTH) < LEAST_DAYS)).height
    unknown = records.filter(pl.col(LENGTH) < 0).height
    notes = (
        (nameless, "records have no outcome (is an Outcomes-x.txt missing?): death and length are unknown."),
        (strangers, "outcomes are of records that are not there; they are left out."),
        (unclear, "records have two different outcomes; the first one counts."),
        (
            unknown,
            "records have no length of stay (−1): it stays unknown, and nothing after the window counts.",
        ),
        (short, "records have a length under 48 h, though the makers took none: taken for 48 h."),
    )
    done.notes += [f"{n:,} {text}" for n, text in notes if n]
    done.notes.append(f"{records.height:,} records, {int((records[DEATH] == 1).sum()):,} deaths in hospital.")
    days = pl.when(pl.col(LENGTH) >= 0).then(pl.max_horizontal(LENGTH, pl.lit(float(LEAST_DAYS))))
    return records.with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=24 * days)).cast(TIME).alias("discharge_dttm"),
        pl.when(pl.col(DEATH) == 1)
        .then(pl.lit("Expired"))
        .when(pl.col(DEATH) == 0)
        .then(pl.lit("Other"))
        .alias("discharge_category"),
    )


def _charted(rows: pl.DataFrame, done: Imported) -> dict[str, pl.DataFrame]:
    """The measured values of each CLIF table; counts what is missing, impossible, or has no category."""
    frames = {}
    counts: Counts = done.counts
    for (name,), part in rows.partition_by("name", as_dict=True).items():
        if name in DESCRIBE:
            continue
        if name not in VARIABLES:
            counts.add("left_out", str(name), part.height)
            continue
        measured = part.filter(pl.col("value") != -1)
        counts.add("missing", str(name), part.height - measured.height)
        frames[str(name)] = convert(str(name), VARIABLES[str(name)], measured, counts)
    return by_table(frames, VARIABLES)
