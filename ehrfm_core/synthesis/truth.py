"""What no hospital knows: the latent state of each hour, and the true risk of each outcome at 24 h."""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.synthesis.charting.chart import severity_of
from ehrfm_core.synthesis.latent.care import CODE, CODES, DEVICE, DEVICES, NOREPINEPHRINE, PLACE, PLACES
from ehrfm_core.synthesis.latent.futures import futures
from ehrfm_core.synthesis.latent.physiology import COMORBIDITIES, ORGANS, REASONS
from ehrfm_core.synthesis.latent.step import (
    AGE,
    DIED,
    FIRST_DAY,
    FRAILTY,
    ILLNESS,
    LONG_STAY,
    PACE,
    PLANNED,
    REASON,
    RECOVERY,
    RISKS,
)
from ehrfm_core.synthesis.tables import ID, PATIENT, Tables, texts

WORSE_BY = 1.0  # severity by which a stay must rise after 24 h to count as deteriorating


def true_stays(tables: Tables, rng: np.random.Generator, *, draws: int) -> pl.DataFrame:
    """One row a stay: who it is, its hidden traits, severity, and the true risks at 24 h.

    `risk_x` is P(outcome x | everything true at 24 h) by `draws` simulated futures, `risk_x_se` its Monte
    Carlo standard error; null where the stay does not count for the outcome. `happened_x` is what came. No
    model that reads the chart can rank better than these risks, on average. `deteriorates`: severity later
    exceeds that at 24 h by WORSE_BY or more, or the patient dies.
    """
    chart = tables.chart
    stays = chart.stays
    risk, error = futures(rng, stays, chart.hospital.policy, draws)
    then = severity_of(stays.x)
    late = np.where(chart.hour >= FIRST_DAY, chart.severity, -np.inf)
    begins = np.flatnonzero(chart.hour == 0)
    peak = np.maximum.reduceat(chart.severity, begins)
    later = np.maximum.reduceat(late, begins)
    happened = {
        "death": stays.exit == DIED,
        "long_los": chart.minutes > LONG_STAY * 60,
        "icu": stays.first_icu >= 0,
        "imv": stays.first_imv >= 0,
    }
    columns: dict[str, pl.Series | np.ndarray] = {
        ID: tables.stay_ids,
        PATIENT: tables.patient_ids.gather(stays.patient),
        "reason": texts(stays.traits[:, REASON].astype(np.int64), REASONS),
        "planned": stays.traits[:, PLANNED] > 0,
        "age": stays.traits[:, AGE],
        "illness": stays.traits[:, ILLNESS],
        "frailty": stays.traits[:, FRAILTY],
        "recovery": stays.traits[:, RECOVERY],
        "pace": stays.traits[:, PACE],
        **{name: stays.comorbid[:, k] > 0 for k, name in enumerate(COMORBIDITIES)},
        "severity_24h": then,
        "severity_peak": peak,
        "deteriorates": (later >= then + WORSE_BY) | (stays.exit == DIED),
        **{f"risk_{name}": risk[:, k] for k, name in enumerate(RISKS)},
        **{f"risk_{name}_se": error[:, k] for k, name in enumerate(RISKS)},
        **{f"happened_{name}": value for name, value in happened.items()},
    }
    frame = pl.DataFrame(columns)
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return frame.with_columns(pl.col(floats).cast(pl.Float64).fill_nan(None))


def true_hours(tables: Tables) -> pl.DataFrame:
    """One row a stay and full hour: the seven organs and severity (to 2 decimals), and the care then."""
    chart = tables.chart
    organs = chart.stays.organs[chart.row]
    return pl.DataFrame(
        {
            ID: tables.stay_ids.gather(chart.stay),
            "hour": chart.hour.astype(np.int32),
            **{name: np.round(organs[:, k], 2) for k, name in enumerate(ORGANS)},
            "severity": np.round(chart.severity, 2).astype(np.float32),
            "place": texts(chart.care_of(PLACE).astype(np.int64), PLACES),
            "device": texts(chart.care_of(DEVICE).astype(np.int64), DEVICES),
            "code_status": texts(chart.care_of(CODE).astype(np.int64), CODES),
            "norepinephrine": np.round(chart.care_of(NOREPINEPHRINE), 3),
        }
    )
