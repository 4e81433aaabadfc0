"""Names of tokens.

A category token is `family/name` in lower case, e.g. `lab/potassium`; a value token is `Q0` … `Q9`,
shared by all categories; the rest are the special tokens below.
"""

from __future__ import annotations

PAD, UNK, TRUNC, START, END = "PAD", "UNK", "TRUNC", "TL_START", "TL_END"
SPECIAL = (PAD, UNK, TRUNC, START, END)
PREFIX_FAMILIES = ("race", "ethnicity", "sex", "age", "admission")
AGE_POSITION = 1 + PREFIX_FAMILIES.index("age")  # the age decile stands without a category token
SUFFIX_FAMILY = "discharge"
ANSWER_FAMILY = "answer"  # follows its assessment as a value token would

FAMILY_LABELS = {
    "race": "Race",
    "ethnicity": "Ethnicity",
    "sex": "Sex",
    "age": "Age",
    "admission": "Admission type",
    "location": "Transfers",
    "lab": "Labs",
    "vital": "Vitals",
    "medication": "Continuous medications",
    "assessment": "Assessments",
    "answer": "Assessment answers",
    "respiratory": "Respiratory support",
    "position": "Position",
    "discharge": "Discharge",
    "special": "Start, end, unknown",
}


def bin_token(index: int) -> str:
    """Name of a value token.

    >>> bin_token(3)
    'Q3'
    """
    return f"Q{index}"


def is_bin(token: str) -> bool:
    """Whether a token is a value token.

    >>> is_bin("Q9"), is_bin("lab/q9"), is_bin("QQ")
    (True, False, False)
    """
    return token[:1] == "Q" and token[1:].isdecimal()


def family(token: str) -> str:
    """Family of a category token; value and special tokens are `special`.

    >>> family("lab/potassium"), family("TL_START")
    ('lab', 'special')
    """
    head, slash, _ = token.partition("/")
    return head if slash else "special"


def build(categories: set[str], *, n_bins: int) -> dict[str, int]:
    """Vocabulary: special tokens, value tokens, then the categories by name; ids from 0, PAD first.

    >>> list(build({"lab/potassium"}, n_bins=2))
    ['PAD', 'UNK', 'TRUNC', 'TL_START', 'TL_END', 'Q0', 'Q1', 'lab/potassium']
    """
    tokens = [*SPECIAL, *(bin_token(i) for i in range(n_bins)), *sorted(categories)]
    return {token: index for index, token in enumerate(tokens)}


def suffix_ids(vocabulary: dict[str, int]) -> list[int]:
    """Ids of the tokens that tell how the stay ended: never part of a window."""
    return [i for token, i in vocabulary.items() if token == END or family(token) == SUFFIX_FAMILY]
