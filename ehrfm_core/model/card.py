"""The model card: what the weights are, what they have seen, how well they predict, what they are not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CARD = """\
---
library_name: transformers
tags: [electronic-health-records, clif, llama]
---

# {title}

{warning}A Llama of {parameters:,} parameters that predicts the next token of a hospital stay,
trained {start} on the timelines of {source} on {date}. Research use only: it is no medical device, and nobody
should be treated by its output.

## Data
{data}

## Settings
{settings}

## Loss
{losses}

{notes}

## Use
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("model")
tokenizer = AutoTokenizer.from_pretrained("model")  # names of tokens to ids
```
`study_tokenizer.json` says how an event becomes a token: cut points, units, vocabulary, all of the
training split.

## Limits
- It knows the patients, the charting and the years it was trained on. Elsewhere it must be tested anew.
- Weights can tell of the records they were trained on. Treat them as you treat the data.
- The loss says how well the record is predicted, not how well a patient is.
"""


def model_card(
    *,
    title: str,
    source: str,
    synthetic: bool,
    date: str,
    parameters: int,
    starts_from: str | None,
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
    losses: Mapping[str, float | None],
    notes: Sequence[str] = (),
) -> str:
    """The text of README.md; the mappings become tables, numbers as they are."""
    return CARD.format(
        title=title,
        warning="**Trained on SYNTHETIC data: no real patient is in it.** " if synthetic else "",
        parameters=parameters,
        start=f"further from the checkpoint of {starts_from}" if starts_from else "from a random start",
        source=source,
        date=date,
        data=_table(data),
        settings=_table(settings),
        losses=_table({name: None if loss is None else f"{loss:.4f}" for name, loss in losses.items()}),
        notes="\n".join(f"- {note}" for note in notes),
    )


def _table(rows: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        if value is None:
            return "–"
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

    lines = [f"| {name} | {shown(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])
