"""Cohorts as rules, not lists: what is drawn or chosen on the screen, evaluated over all stays when asked."""

from __future__ import annotations

from ehrfm_core.cohorts.members import members
from ehrfm_core.cohorts.predicate import Cohort, Region

__all__ = ["Cohort", "Region", "members"]
