"""Every item of TRIPOD+AI with what the study answers, and what is left to the author."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.tripod import analysis, inputs, model, participants, performance
from ehrfm_core.evaluation.tripod.facts import Facts
from ehrfm_core.study.reader import Study

FILE = Path(__file__).parents[2] / "tripod_ai.json"
FILLED, PARTLY, AUTHOR = "filled", "partly", "by the author"
# what each status means, in words for the reader
STATUSES = {
    FILLED: "the study answers it",
    PARTLY: "the study answers a part; the answer says what is missing",
    AUTHOR: "the study knows nothing of it",
}
SCHEMA = {name: pl.String() for name in ("item", "section", "topic", "asked", "answer", "status")}

Answer = Callable[[Facts], list[str]]
# item → the stage that must have run, and what then answers; the other items are the author's
PARTS = (participants, inputs, analysis, model, performance)
ANSWERS: dict[str, tuple[str, Answer]] = {item: own for part in PARTS for item, own in part.ANSWERS.items()}


@cache
def statement() -> dict[str, Any]:
    """The content of `tripod_ai.json`: source, and items in our own words."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def checklist(study: Study) -> pl.DataFrame:
    """One row an item, in the statement's order: item, section, topic, asked, answer (lines), status.

    Answers are computed from the study's files; nothing raises where a stage has not run or a table is
    missing or of an earlier version: the answer says so, and the status is `partly`.
    """
    facts = Facts(study)
    rows = []
    for item, section, topic, asked, author in statement()["rows"]:
        lines, lacking = _answer(facts, item)
        left = [] if author is None else [f"For the author: {author}"]
        status = AUTHOR if not (lines or lacking) else PARTLY if lacking or left else FILLED
        rows.append((item, section, topic, asked, "\n".join([*lines, *lacking, *left]), status))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _answer(facts: Facts, item: str) -> tuple[list[str], list[str]]:
    """What is known, and what is not known yet."""
    if item not in ANSWERS:
        return [], []
    stage, answer = ANSWERS[item]
    if not facts.study.has(stage):
        command = f"python -m train {stage} {facts.study.folder}"
        return [], [f"Not known yet: the stage {stage} has not run ({command})."]
    try:
        return answer(facts), []
    except UserError as error:
        return [], [f"Not known: {error}"]


def counts(rows: pl.DataFrame) -> dict[str, int]:
    """How many items have each status, in the order of `STATUSES`."""
    return {status: int((rows["status"] == status).sum()) for status in STATUSES}


def markdown(study: Study, rows: pl.DataFrame | None = None) -> str:
    """The checklist as a Markdown document; `rows` are those of `checklist`, if they are at hand."""
    rows = checklist(study) if rows is None else rows
    source = statement()["source"]
    parts = [f"# TRIPOD+AI checklist: {study.name}"]
    if study.manifest.synthetic:
        parts.append("**SYNTHETIC DATA: no real patient is behind any number here.**")
    parts += [
        f"Filled in from the study (version {study.digest}) as far as the study knows: {rows.height} items, "
        + "; ".join(f"{n} {status} ({STATUSES[status]})" for status, n in counts(rows).items())
        + ".",
        f"Source: {source['citation']} <{source['url']}>. Questions are in words of our own.",
    ]
    for (section,), part in rows.group_by("section", maintain_order=True):
        parts.append(f"## {section}")
        for row in part.iter_rows(named=True):
            lines = "\n".join(f"- {line}" for line in row["answer"].split("\n"))
            parts += [f"### {row['item']} {row['topic']} ({row['status']})", f"*{row['asked']}*", lines]
    return "\n\n".join(parts) + "\n"
