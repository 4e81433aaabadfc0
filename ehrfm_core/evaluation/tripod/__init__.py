"""The TRIPOD+AI checklist, filled in from a study as far as the study knows."""

from ehrfm_core.evaluation.tripod.checklist import STATUSES, checklist, counts, markdown

__all__ = ["STATUSES", "checklist", "counts", "markdown"]
