"""A tokenizer for another hospital out of one that a model was trained with: what it knows stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ehrfm_core.clif.site import Site
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.fit import fit_tokenizer
from ehrfm_core.tokens.tokenizer import Tokenizer


def extend(base: Tokenizer, site: Site) -> Tokenizer:
    """`base` with the tokens appended that it lacks for the training split of `site`.

    Codes, answers and static categories that `base` does not know get the next ids, in sorted order; new
    codes get cut points, units and reference ranges as `fit_tokenizer` would give them, and value tokens only
    where `base` has none that serve. Whatever `base` knows keeps its id, cut points, unit and range: a code
    that it knows without values stays without. Raises UserError where no stay is in the training split.
    """
    own = fit_tokenizer(site, base.settings, base.events)
    items = [item for item in site.store.items if item.code in own.vocabulary]
    new = {item.code for item in items} - set(base.vocabulary)
    fused = base.settings.scheme == "fused"
    answers = {(item.code, f"{names.ANSWER_FAMILY}/{item.answer}") for item in items if item.answer}
    wanted = new | {names.fuse(code, answer) if fused else answer for code, answer in answers}
    if fused:
        wanted |= {names.fuse(code, value) for code in new for value in own.value_tokens(code)}
    else:
        wanted |= {value for code in new for value in own.value_tokens(code)}
    static = {*base.prefix, names.SUFFIX_FAMILY} - {names.AGE}
    wanted |= {token for token in own.vocabulary if names.family(token) in static}
    # an item's answers may stand outside the training split alone; `own` has those within it
    added = sorted(wanted & set(own.vocabulary) - set(base.vocabulary))
    size = len(base.vocabulary)
    return replace(
        base,
        cut_points=_joined(base.cut_points, own.cut_points, new),
        vocabulary=base.vocabulary | {token: size + place for place, token in enumerate(added)},
        reference=_joined(base.reference, own.reference, new),
        units=_joined(base.units, own.units, new),
    )


def inherited(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """What `extend` was given: the first `size` tokens of its result, and what belongs to them.

    >>> from ehrfm_core.tokens.settings import TokenSettings
    >>> tokenizer = Tokenizer(TokenSettings(), {"lab/a": [1.0], "lab/b": [2.0]}, {"lab/b": 0, "lab/a": 1})
    >>> inherited(tokenizer, 1).cut_points, inherited(tokenizer, 1).vocabulary
    ({'lab/b': [2.0]}, {'lab/b': 0})
    """
    vocabulary = {token: i for token, i in tokenizer.vocabulary.items() if i < size}
    known = {*vocabulary, names.AGE}
    return replace(
        tokenizer,
        cut_points=_joined({}, tokenizer.cut_points, known),
        vocabulary=vocabulary,
        reference=_joined({}, tokenizer.reference, known),
        units=_joined({}, tokenizer.units, known),
    )


def _joined(base: dict[str, Any], own: dict[str, Any], codes: set[str]) -> dict[str, Any]:
    return dict(sorted((base | {code: value for code, value in own.items() if code in codes}).items()))
