"""Methods: what every number means, how the study was made, and what it cannot tell."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboard import checklist, data, manifest, model_card, quality, ui
from dashboard.charts.maps import KINDS
from dashboard.charts.overview import loss_ladder
from dashboard.limits import limits
from ehrfm_core.study import Study

DEFINITIONS = (
    (
        "Jump",
        r"\Delta_t = \lVert R_t - R_{t-1} \rVert_2",
        "Distance between the hidden states before and after a token, in the model's full space. The "
        "first token has none.",
    ),
    (
        "Path length",
        r"L = \sum_t \Delta_t",
        "Sum of all jumps of the window, static prefix included (the paper's definition).",
    ),
    (
        "Largest jump",
        r"M = \max_t \Delta_t",
        "The largest jump of the window, static prefix included (the paper's definition).",
    ),
    (
        "Event path length, largest event jump",
        r"L_e = \sum_{t>p} \Delta_t, \;\; M_e = \max_{t>p} \Delta_t",
        "The same without the static prefix of p tokens (start, demographics, admission type).",
    ),
    (
        "Net displacement and tortuosity",
        r"D = \lVert R_T - R_0 \rVert_2, \qquad \tau = L / D",
        "How far the stay got, and how much longer its way was.",
    ),
    (
        "Information",
        r"I_t = -\log p(x_t \mid x_{<t})",
        "How surprised the model was by a token, in nats; high is unexpected.",
    ),
    (
        "Anomaly score",
        r"s = 2^{-\mathbb{E}[h] / c}",
        "Isolation forest on the 24 h state, fitted on the source's training split (Liu et al. 2008); "
        "flagged above 0.5.",
    ),
    (
        "Interval of a rate",
        r"\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + z^2/n}",
        "Wilson 1927, z = 1.96. Bands of ROC curves come from a bootstrap of whole patients.",
    ),
    (
        "Risk",
        r"\hat p_h = \sigma(w \cdot R_h + b)",
        "Logistic probe fitted on the source's training split, read after each hour.",
    ),
)


def main() -> None:
    """Draw the page."""
    study, _ = ui.current()
    ui.header("Methods and limits", "What does every number mean, how was it made, and what can it not tell?")
    definitions()
    outcomes(study)
    model(study)
    map_quality(study)
    ui.section("Known limits")
    tokenizer = data.tokenizer(study) if study.has("tokenize") else {}
    found = limits(tokenizer, n_sites=len(study.sites), synthetic=study.manifest.synthetic)
    st.markdown("\n".join(f"- {limit}" for limit in found))
    model_card.draw(study)
    checklist.draw(study)
    manifest.draw(study)


def definitions() -> None:
    """Formulas with a sentence each."""
    ui.section(
        "Definitions",
        "R is the model's last hidden state after a token; the window is the first 24 hours of the stay.",
    )
    for begin in range(0, len(DEFINITIONS), 3):
        for column, (name, formula, sentence) in zip(
            st.columns(3, gap="medium"), DEFINITIONS[begin : begin + 3], strict=False
        ):
            with column.container(border=True, height="stretch"):
                st.markdown(f"**{name}**")
                st.latex(formula)
                st.caption(sentence)


def outcomes(study: Study) -> None:
    """The outcomes and who counts."""
    ui.section("Outcomes")
    st.table(
        pl.DataFrame(
            {
                "Outcome": [o.label for o in study.outcomes.values()],
                "Definition": [ui.plain(o.definition) for o in study.outcomes.values()],
                "Left out": [
                    "stays with the event in the first 24 h" if o.excluded_by else "nobody"
                    for o in study.outcomes.values()
                ],
            }
        ),
        hide_index=True,
        border="horizontal",
    )
    st.caption("A stay whose label is not recorded counts nowhere. Definitions after arXiv 2504.10422.")


def model(study: Study) -> None:
    """Size, loss and tokens."""
    ui.section("Model and tokens")
    if not study.has("pretrain"):
        ui.absent(
            "The model has not been trained yet.",
            "Train it with:",
            f"python -m train pretrain {study.folder}",
        )
        return
    summary: dict[str, Any] = study.manifest.stages["pretrain"].summary
    tokenizer = data.tokenizer(study)
    facts = (
        ("Parameters", summary.get("parameters")),
        ("Training steps", summary.get("steps")),
        ("Vocabulary", len(tokenizer.get("vocabulary", {})) or None),
        ("Value bins", tokenizer.get("n_bins")),
        ("Window, hours", tokenizer.get("window_hours")),
        ("Longest window, tokens", tokenizer.get("max_tokens")),
    )
    for column, (label, value) in zip(st.columns(len(facts)), facts, strict=True):
        column.metric(label, "—" if value is None else f"{value:,.0f}")
    st.caption(_scheme(tokenizer))
    names = {
        "uniform_nats": "Every token equally likely",
        "unigram_nats": "Token frequencies",
        "bigram_nats": "Pairs of tokens",
        "tuning_loss": "This model",
    }
    nats = {label: float(summary[key]) for key, label in names.items() if summary.get(key) is not None}
    if "This model" in nats and len(nats) > 1:
        better = [
            label for label, value in nats.items() if label != "This model" and nats["This model"] >= value
        ]
        if better:
            st.warning(
                "The model predicts the next token no better than a simpler guess "
                f"({', '.join(better).lower()}). What follows from its states deserves as little trust.",
                icon=":material/warning:",
            )
        ui.chart(
            loss_ladder(nats),
            key="loss",
            alt="Bar chart: nats per token of the model and of simpler guesses",
            caption="Mean over the tokens of the source's tuning split; the simpler guesses are fitted on "
            "the training split. No interval.",
        )


def map_quality(study: Study) -> None:
    """Quality of the two maps."""
    ui.section("The maps and how far they can be trusted")
    if not study.has("embed"):
        ui.absent("There are no maps yet.", "Make them with:", f"python -m train embed {study.folder}")
        return
    maps = data.maps(study)
    st.caption(
        f"Fitted on {maps.get('fitted_on', 'the source')} ({maps.get('n_fitted', 0):,} states); other "
        "stays are placed on them."
    )
    table = pl.DataFrame(
        {"Measure": [label for label, _ in quality.MEASURES.values()]}
        | {
            title: [_two((maps.get(kind, {}).get("quality") or {}).get(key)) for key in quality.MEASURES]
            for kind, title in KINDS.items()
        }
        | {"What it asks": [text for _, text in quality.MEASURES.values()]}
    )
    st.table(table, hide_index=True, border="horizontal")
    beyond = (maps.get("off_map_beyond") or {}).get("distance")
    if beyond is not None:
        st.caption(
            f"Off the map: a mean distance to the {maps['umap']['n_neighbors']} nearest fitted states above "
            f"{beyond:.2f}, the 99th percentile of the source's held-out hours, in the space of the first "
            f"{maps['n_components']} principal components "
            f"({100 * maps['pca']['kept_variance']:.0f} % of the variance)."
        )
    umap = maps.get("umap", {})
    settings = ", ".join(f"{key} {umap[key]}" for key in ("n_neighbors", "min_dist", "seed") if key in umap)
    st.caption(f"UMAP: {settings}." if settings else "")


def _two(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def _scheme(tokenizer: dict[str, Any]) -> str:
    """How stays became tokens, in words."""
    two = "an event is a category token and a value token" if tokenizer.get("scheme") == "paper" else None
    parts = [
        two or "an event is one token of its category and value",
        "reference ranges where CLIF gives them" if tokenizer.get("bins") == "reference" else None,
        "tokens for gaps in time" if tokenizer.get("spacing") else None,
        "specimen and order of labs kept apart" if tokenizer.get("labs") == "fine" else None,
        "earlier stays of the patient in front of each window" if tokenizer.get("history") else None,
        f"events of the map “{ui.plain(tokenizer.get('events', {}).get('name', 'paper'))}”",
    ]
    return "Tokens: " + "; ".join(part for part in parts if part) + "."


main()
