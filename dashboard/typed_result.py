"""A result typed in, and the tokens it becomes: what `ehrfm_core.tokens.explain` says of it, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from dashboard import state, ui
from ehrfm_core.errors import UserError
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.explain import Explanation, explain
from ehrfm_core.tokens.tokenizer import Tokenizer

LONGEST = 200  # characters
_OF = "result_of"  # the code that the result was suggested for
_TRY = "result_try"

CSS = """
<style>
  .tokens { display: flex; flex-wrap: wrap; align-items: center; gap: 0.4rem; margin: 0.1rem 0 0.3rem; }
  .tokens span { padding: 0.12rem 0.6rem; border-radius: 0.45rem; border: 1.5px solid #7B8794;
    font-family: var(--st-code-font, monospace); font-size: 0.95rem; overflow-wrap: anywhere; }
  .tokens span.category { border-color: #0072B2; background: rgba(0, 114, 178, 0.12); }
  .tokens span.value { border-color: #E69F00; background: rgba(230, 159, 0, 0.14); }
  .tokens span.unknown { border-style: dashed; }
  .tokens small { opacity: 0.75; padding-left: 0.45rem; font-variant-numeric: tabular-nums; }
</style>
"""


def suggestion(tokenizer: Tokenizer, code: str) -> str:
    """A result of a code as one would type it: at its middle cut point where it has any.

    >>> from ehrfm_core.tokens.settings import TokenSettings
    >>> tokenizer = Tokenizer(TokenSettings(), {"lab/potassium": [3.9, 4.2, 4.6]}, {})
    >>> suggestion(tokenizer, "lab/potassium"), suggestion(tokenizer, "location/icu")
    ('lab potassium 4.2', 'location icu')
    """
    cuts = tokenizer.reference.get(code) or tokenizer.cut_points.get(code) or []
    value = f" {cuts[len(cuts) // 2]:g}" if cuts else ""
    unit = f" {tokenizer.units[code]}" if value and code in tokenizer.units else ""
    if code == names.AGE:
        return f"{code}{value or ' 60'}"
    return " ".join(code.split("/", 1)) + value + unit


def examples(tokenizer: Tokenizer, code: str) -> dict[str, str]:
    """Results that are not as they should be, by what is the matter with them."""
    cuts = tokenizer.reference.get(code) or tokenizer.cut_points.get(code) or []
    head = " ".join(code.split("/", 1))
    family = head.split(" ", 1)[0]
    found = {"As charted": suggestion(tokenizer, code)}
    if cuts:
        found["Far above all"] = f"{head} {100 * max(abs(cuts[-1]), 1):g}"
        found["Far below all"] = f"{head} {min(cuts[0], 0) - 100:g}"
    if code != names.AGE:
        found |= {"NaN": f"{head} NaN", "Text": f"{head} hemolyzed", "Unknown code": f"{family} unheard_of 1"}
    return found


def place_of(tokenizer: Tokenizer, text: str, explanation: Explanation) -> tuple[str, int] | None:
    """Code and bin that a result fell into; None without a bin.

    `text` is what was explained: the age bin carries no category.
    """
    first, last = explanation.tokens[0][0], explanation.tokens[-1][0]
    index = names.bin_index(last)
    if index is None:
        return None
    if text.split()[0].lower() == names.AGE:
        return names.AGE, index
    return first.partition(names.FUSED)[0], index


def chips(tokens: Sequence[tuple[str, int]]) -> str:
    """Tokens with their ids as HTML.

    >>> chips([("Q7", 12)])
    '<div class="tokens" role="list"><span role="listitem" class="value">Q7<small>12</small></span></div>'
    """
    items = (
        f'<span role="listitem" class="{_kind(token)}">{escape(token)}<small>{number}</small></span>'
        for token, number in tokens
    )
    return f'<div class="tokens" role="list">{"".join(items)}</div>'


def _kind(token: str) -> str:
    if token == names.UNK:
        return "unknown"
    return "value" if names.is_bin(token) or names.family(token) == names.ANSWER_FAMILY else "category"


def draw(tokenizer: Tokenizer, code: str) -> int | None:
    """The field, the tokens and the reasons; the bin of `code` that the result falls into, if any."""
    wanted = examples(tokenizer, code)
    if st.session_state.get(_OF) != code:
        linked = _OF not in st.session_state and st.query_params.get(state.RESULT)
        if not linked:
            st.session_state[state.RESULT] = wanted["As charted"]
        st.session_state[_OF] = code

    def follow() -> None:
        if (chosen := st.session_state[_TRY]) in wanted:
            st.session_state[state.RESULT] = wanted[chosen]
        st.session_state[_TRY] = None

    text = st.text_input(
        "Type a result",
        key=state.RESULT,
        bind="query-params",
        max_chars=LONGEST,
        placeholder="lab potassium 5.5",
        help="Table or family, code and, where there is one, the value with its unit, or the answer: "
        "labs potassium 5.5, patient_assessments cam_total Positive, age 67.",
    )
    st.pills("Or try", list(wanted), key=_TRY, on_change=follow, label_visibility="collapsed", wrap=True)
    return _explained(tokenizer, " ".join((text or "")[:LONGEST].split()), code)


def _explained(tokenizer: Tokenizer, text: str, code: str) -> int | None:
    if not text:
        st.caption("Type a result above to see its tokens.")
        return None
    try:
        found = explain(tokenizer, text)
    except UserError as error:
        told = str(error).removeprefix(f"--explain {text!r}").lstrip(": ")
        st.warning(ui.plain(told[:1].upper() + told[1:]), icon=":material/edit:")
        return None
    place = None
    for explanation in found[:4]:  # with fine labs a code has many
        st.html(CSS + chips(explanation.tokens))
        st.markdown("\n".join(f"- {ui.plain(reason)}" for reason in explanation.reasons))
        own = place_of(tokenizer, text, explanation)
        if own is not None and own[0] == code:
            place = own[1]
    if len(found) > 4:
        st.caption(f"And {len(found) - 4} more that the words fit.")
    return place
