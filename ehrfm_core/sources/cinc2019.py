"""PhysioNet/CinC Challenge 2019 as CLIF 2.1: two hospitals, hour by hour, and sepsis.

A record (`p000001.psv`, one row an hour) becomes one patient with one hospitalization in one ICU of hospital
A (p0…, Beth Israel Deaconess Medical Center) or B (p1…, Emory University Hospital). The data are under the
Creative Commons Attribution 4.0 license; cite Reyna et al., Early prediction of sepsis from clinical data:
the PhysioNet/Computing in Cardiology Challenge 2019, Critical Care Medicine 2020;48(2):210–217.
https://physionet.org/content/challenge-2019/1.0.0/

ICULOS counts the hours since ICU admission from 1, and a row sums up its hour (a median where several values
were charted): it is known when the hour is over. The row with ICULOS h stands h hours after the admission,
which is the start of the ICU stay, at an invented time (`clif_writing`). A window of 24 h so holds the rows
with ICULOS 1 to 24, each hour that had ended by then and nothing later. Records of hospital A may begin later
than with ICULOS 1.

SepsisLabel is 1 from six hours before the onset of sepsis (Sepsis-3). `outcomes.parquet` tells the onset: six
hours after the first positive row; where the very first row is positive, the onset is at that time or before
(in the data of 2019 always within the first 24 h). A record without a positive row had no sepsis while it
lasted: event_time is null. A record ends with the ICU stay, after two weeks, or some hours after the onset,
and tells neither discharge nor death: the hospitalization ends with the record and is Still Admitted, so that
in a study death and length of stay are unknown. The end of a record stands nowhere else. HospAdmTime (hours
from hospital to ICU admission) is left out: nothing is charted before the ICU, and an earlier admission would
move the window before the data.

    variable                unit      CLIF table, category                       unit      factor
    HR                      /min      vitals heart_rate                          /min      1
    O2Sat                   %         vitals spo2                                %         1
    Temp                    °C        vitals temp_c                              °C        1
    SBP, MAP, DBP           mmHg      vitals sbp, map, dbp                       mmHg      1
    Resp                    /min      vitals respiratory_rate                    /min      1
    HCO3                    mmol/L    labs bicarbonate                           mmol/L    1
    FiO2                    0–1       respiratory_support fio2_set               0.21–1    1
    pH, PaCO2, SaO2         mmHg, %   labs ph_arterial, pco2_arterial, so2_arterial        1
    AST, Alkalinephos       IU/L      labs ast, alkaline_phosphatase             U/L       1
    BUN, Calcium            mg/dL     labs bun, calcium_total                    mg/dL     1
    Chloride, Potassium     mmol/L    labs chloride, potassium                   mmol/L    1
    Creatinine, Glucose     mg/dL     labs creatinine, glucose_serum             mg/dL     1
    Bilirubin_direct        mg/dL     labs bilirubin_conjugated                  mg/dL     1
    Bilirubin_total         mg/dL     labs bilirubin_total                       mg/dL     1
    Lactate                 mg/dL¹    labs lactate                               mmol/L    1
    Magnesium               mmol/dL¹  labs magnesium                             mg/dL     1
    Phosphate               mg/dL     labs phosphate                             mg/dL     1
    TroponinI               ng/mL     labs troponin_i                            ng/L      1,000
    Hgb                     g/dL      labs hemoglobin                            g/dL      1
    PTT                     s         labs ptt                                   s         1
    WBC, Platelets          10³/µL    labs wbc, platelet_count                   10³/µL    1
    Age, Gender             years     hospitalization age_at_admission (whole years), patient sex_category
    Unit1, Unit2            0, 1      adt location_type: medical_icu, surgical_icu; null where neither is told
    EtCO2, BaseExcess, Hct, Fibrinogen          left out: CLIF 2.1 has no category for them

¹ as documented; the values (medians 1.8 and 2.0) are mmol/L and mg/dL. Hospital B reports some ionised
calcium (about 1 mmol/L) as Calcium: below 3 mg/dL it is left out as impossible. FiO2 comes without a device:
whether a patient was ventilated is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.sources.challenge_files import Findings, nothing_read
from ehrfm_core.sources.cinc2019_files import VARIABLES, Records2019, read_files
from ehrfm_core.sources.clif_variables import by_table, n_empty
from ehrfm_core.sources.clif_writing import (
    ID,
    INVENTED,
    TIME,
    Imported,
    event_tables,
    refuse_foreign,
    static_tables,
    with_admission,
    write_all,
)

HOSPITALS = {"0": "hospital_a", "1": "hospital_b"}
BEFORE_ONSET = 6  # hours by which the label runs ahead
OUTCOME = "sepsis"
OUTCOMES_YAML = """\
# The outcome of the Challenge 2019, for `--outcomes`: it reads outcomes.parquet of each hospital.
format: 1
outcomes:
  - name: sepsis
    label: Sepsis
    definition: >-
      Onset of sepsis by Sepsis-3 (suspected infection and a rise of SOFA by two points or more) as labelled
      by the PhysioNet/CinC Challenge 2019, before its record ends, among stays with no onset in the window.
    file: outcomes
    unlisted: unknown
"""


def import_cinc2019(sources: Sequence[Path], out: Path) -> Imported:
    """Write the records of `sources` (folders, archives, files; several sets at once) into `out` as CLIF.

    One directory a hospital, `out`/hospital_a and `out`/hospital_b, each with outcomes.parquet
    (hospitalization_id, outcome, event_time in UTC); `out`/outcomes.yaml for `--outcomes`. Raises UserError
    where no record can be read, or `out` holds something else.
    """
    refuse_foreign(out, {*HOSPITALS.values(), "outcomes.yaml"})
    findings, done = Findings(), Imported()
    read = read_files(sources, findings, done.counts)
    if not read.records or not sum(frame.height for frame in read.records):
        shape = "files such as p000001.psv; give training_setA, training_setB or training"
        told = nothing_read(sources, findings, year=2019, other=2012, strangers=read.strangers, shape=shape)
        raise UserError(told)
    if read.strangers:
        done.notes.append(
            f"{read.strangers:,} files are of the Challenge 2012 and left out; for these, `import cinc2012`."
        )
    if read.hourless:
        done.notes.append(f"{read.hourless:,} rows have no ICULOS; they are left out.")
    records = _records(read)
    charted = by_table({name: pl.concat(parts) for name, parts in read.values.items()}, VARIABLES)
    read.values.clear()
    if empty := n_empty(records, charted):
        done.notes.append(f"{empty:,} records have nothing charted that CLIF knows; they keep age and sex.")
    content: dict[str, pl.DataFrame | str] = {"outcomes.yaml": OUTCOMES_YAML}
    for hospital in HOSPITALS.values():
        own = records.filter(pl.col("hospital") == hospital)
        if own.height:
            for name, table in (static_tables(own, hospital=hospital) | event_tables(charted, own)).items():
                content[f"{hospital}/clif_{name}.parquet"] = table
            content[f"{hospital}/outcomes.parquet"] = _outcomes(own)
            done.notes.append(_told(hospital, own))
    done.rows = write_all(out, content)
    done.notes = [*done.notes, *findings.tell(), INVENTED]
    return done


def _records(read: Records2019) -> pl.DataFrame:
    """One row a record, in order of id, with everything `clif_writing.static_tables` wants."""
    names = pl.DataFrame({ID: read.names}).with_row_index("record")
    records = with_admission(pl.concat(read.records).join(names, on="record"))
    medical, surgical = (pl.col(name) == 1 for name in ("Unit1", "Unit2"))
    unit = (
        pl.when(medical & ~surgical.fill_null(value=False))
        .then(pl.lit("medical_icu"))
        .when(surgical & ~medical.fill_null(value=False))
        .then(pl.lit("surgical_icu"))
    )
    sexes = {0.0: "Female", 1.0: "Male"}
    return records.with_columns(
        pl.col(ID).str.slice(1, 1).replace_strict(HOSPITALS, return_dtype=pl.String).alias("hospital"),
        (pl.col("admission_dttm") + pl.duration(hours="last")).cast(TIME).alias("discharge_dttm"),
        pl.lit("Still Admitted").alias("discharge_category"),
        pl.when(pl.col("Age") >= 0).then("Age").alias("age"),
        pl.col("Gender").replace_strict(sexes, default="Unknown", return_dtype=pl.String).alias("sex"),
        unit.alias("unit"),
        unit.replace({"medical_icu": "MICU", "surgical_icu": "SICU"}).alias("unit_name"),
    )


def _outcomes(records: pl.DataFrame) -> pl.DataFrame:
    """Onset of sepsis of every record that has a label."""
    onset = pl.col("admission_dttm") + pl.duration(hours=pl.col("positive") + BEFORE_ONSET)
    return records.filter(pl.col("labels") > 0).select(
        ID, pl.lit(OUTCOME).alias("outcome"), onset.cast(TIME).alias("event_time")
    )


def _told(hospital: str, records: pl.DataFrame) -> str:
    sepsis = records.drop_nulls("positive")
    at_once = sepsis.filter(pl.col("positive") == pl.col("first")).height
    late, unlabelled = (
        records.filter(condition).height for condition in (pl.col("first") > 24, pl.col("labels") == 0)
    )
    text = f"{hospital}: {records.height:,} records, {sepsis.height:,} with sepsis"
    text += f" ({at_once:,} positive from the first row on: onset at that time plus 6 h or before)"
    if late:
        text += f"; {late:,} begin after hour 24"
    if unlabelled:
        text += f"; {unlabelled:,} have no label and no outcome"
    return f"{text}."
