"""The model's card, `model/README.md`, on the screen: text alone, whatever is written in it."""

from __future__ import annotations

import re

import streamlit as st

from dashboard import ui
from ehrfm_core.study import Study
from ehrfm_core.study.layout import CARD

LONGEST = 40_000  # characters
_FENCE = "```"


def draw(study: Study) -> None:
    """The section of the Methods page; nothing where no model has been trained."""
    if not study.has("pretrain"):
        return
    ui.section("Model card", "What goes with the weights to whoever is given them.")
    try:
        text = (study.folder / CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:
        st.caption(f"This study has no card: `{CARD}` is written with the weights; run `pretrain` again.")
        return
    with st.expander(f"{CARD} of {ui.plain(study.name)}", icon=":material/id_card:"):
        st.markdown(safe(text))
        ui.download("Download the card", text, name="model-card", ending="md", mime="text/markdown")
    st.caption("The card bears the day of training, so the manifest has no hash of it.")


def safe(text: str) -> str:
    r"""A card's Markdown without its front matter, its headings small, with no picture, link or formula.

    HTML is left to Streamlit, which shows it as text.

    >>> text = safe("---\ntags: [a]\n---\n# Name\n![x](http://y) costs $5 :red[x]")
    >>> print(text.replace("\u2060", ""))
    #### Name
    !\[x\]\(http\://y) costs \$5 \:red\[x\]
    >>> safe("```python\nx[0](1)  # $\n```") == "```python\nx[0](1)  # $\n```"
    True
    """
    body = re.sub(r"\A---\n.*?\n---\n+", "", text[:LONGEST].replace("\r\n", "\n"), flags=re.DOTALL)
    inside, lines = False, []
    for line in body.split("\n"):
        fence = line.lstrip().startswith(_FENCE)
        lines.append(line if inside or fence else _plain(line))
        inside ^= fence
    return "\n".join(lines + [_FENCE] * inside)


def _plain(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)  # code within a line stays as it is
    # addresses become links after the markup is read: a sign of no width keeps them text
    parts[::2] = [re.sub(r"(?i)(:)(?=//)|(www)(?=\.)|(@)(?=\w)", "\\g<0>\u2060", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"([\[\]$:]|(?<=\])\()", r"\\\1", part) for part in parts[::2]]
    return re.sub(r"^(#{1,6})(?= )", lambda found: "#" * min(6, len(found[1]) + 3), "".join(parts))
