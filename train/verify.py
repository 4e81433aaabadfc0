"""All that can be checked of a study: its files, what they say of each other, metrics from predictions."""

from __future__ import annotations

from ehrfm_core.study.reader import Study
from ehrfm_core.study.verify import agree, hashes


def findings(study: Study) -> list[str]:
    """Everything that is wrong, a sentence each; empty if nothing is.

    Where a file is not as it was written, what it says is not checked further.
    """
    from ehrfm_core.evaluation.recompute import near_perfect, recompute  # scipy: not for every command

    if found := hashes(study):
        return found
    found = agree(study) + recompute(study)
    unreadable = not study.has("evaluate") or any("metrics.parquet" in one for one in found)
    return found if unreadable else found + near_perfect(study.result("metrics"), study.outcomes)
