"""Which measures of a path are set against the outcomes."""

from __future__ import annotations

import polars as pl

from ehrfm_core.evaluation.sites import Stays

# the paper's three: its one regression has them together
JOINT = {"path_length": "path length", "max_jump": "max jump", "anomaly_score": "anomaly score"}
FEATURES = JOINT | {
    "speed_per_hour": "speed per hour",
    "mean_event_jump": "mean event jump",
    "event_displacement": "event displacement",
    "event_tortuosity": "event tortuosity",
    "hourly_path_length": "hourly path length",
    "hourly_max_step": "hourly max step",
    "hourly_tortuosity": "hourly tortuosity",
    "direction_change": "direction change",
    "mean_information": "mean information",
}


def measured(frame: pl.DataFrame) -> list[str]:
    """The features that a site's stays have; an older dynamics table lacks the newer ones."""
    return [feature for feature in FEATURES if feature in frame.columns]


def unmeasured(stays: Stays) -> list[str]:
    """A note on the features that a site lacks, if there are any."""
    missing = [label for feature, label in FEATURES.items() if feature not in stays.frame.columns]
    if not missing:
        return []
    return [
        f"dynamics.parquet of {stays.site} is of an older version without {', '.join(missing)}: nothing is "
        "associated with them; run embed again."
    ]
