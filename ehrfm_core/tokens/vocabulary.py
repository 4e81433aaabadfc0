"""Names of tokens.

A category token is `family/name` in CLIF 3.0's spelling, e.g. `lab/potassium`. A value token is `Q0` …
`Q9`, or LOW, NORMAL, HIGH against a reference range, shared by all categories. A fused token is both,
`lab/potassium=Q7`. A spacing token is `time/1h-2h`. The rest are the special tokens below.
"""

from __future__ import annotations

PAD, UNK, TRUNC, START, END = "PAD", "UNK", "TRUNC", "TL_START", "TL_END"
SPECIAL = (PAD, UNK, TRUNC, START, END)
REFERENCE = ("LOW", "NORMAL", "HIGH")
PREFIX_FAMILIES = ("race", "ethnicity", "sex", "age", "admission")
SUFFIX_FAMILY = "discharge"
ANSWER_FAMILY = "answer"  # follows its assessment as a value token would
SPACING_FAMILY = "time"
AGE = "age"
FUSED = "="

# from how many seconds on a gap has which token; a gap of exactly 15 minutes is 15m-1h
SPACINGS = {
    "5m-15m": 300,
    "15m-1h": 900,
    "1h-2h": 3600,
    "2h-6h": 7200,
    "6h-12h": 21600,
    "12h-1d": 43200,
    "1d-3d": 86400,
    "3d-1w": 259200,
    "1w+": 604800,
}

FAMILY_LABELS = {
    "race": "Race",
    "ethnicity": "Ethnicity",
    "sex": "Sex",
    "age": "Age",
    "admission": "Admission type",
    "location": "Transfers",
    "location_out": "Transfers out",
    "code_status": "Code status",
    "lab_order": "Labs ordered",
    "lab_collect": "Labs collected",
    "lab": "Labs",
    "vital": "Vitals",
    "medication": "Continuous medications",
    "medication_stop": "Infusions stopped",
    "dose": "Intermittent medications",
    "assessment": "Assessments",
    "answer": "Assessment answers",
    "respiratory": "Respiratory support",
    "position": "Position",
    "crrt": "Renal replacement",
    "time": "Time gaps",
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

    >>> is_bin("Q9"), is_bin("HIGH"), is_bin("lab/q9"), is_bin("lab/potassium=Q9")
    (True, True, False, False)
    """
    return token in REFERENCE or (token[:1] == "Q" and token[1:].isdecimal())


def bin_index(token: str) -> int | None:
    """Number of the bin that a value token or a fused token stands for, from 0; None for other tokens.

    >>> bin_index("Q7"), bin_index("lab/pt=HIGH"), bin_index("assessment/cam_total=positive")
    (7, 2, None)
    """
    value = token.rpartition(FUSED)[2]
    if not is_bin(value):
        return None
    return REFERENCE.index(value) if value in REFERENCE else int(value[1:])


def fuse(code: str, value: str) -> str:
    """Name of a fused token.

    >>> fuse("lab/potassium", "Q7"), fuse("assessment/cam_total", "answer/positive")
    ('lab/potassium=Q7', 'assessment/cam_total=positive')
    """
    return f"{code}{FUSED}{value.removeprefix(ANSWER_FAMILY + '/')}"


def family(token: str) -> str:
    """Family of a category, fused or spacing token; value and special tokens are `special`.

    >>> family("lab/potassium"), family("lab/potassium=Q7"), family("TL_START")
    ('lab', 'lab', 'special')
    """
    head, slash, _ = token.partition("/")
    return head if slash else "special"


def name(token: str) -> str:
    """What a token is about within its family.

    >>> name("lab/potassium=Q7"), name("TL_START")
    ('potassium', 'TL_START')
    """
    rest = token.partition("/")[2] or token
    return rest.partition(FUSED)[0]


def build(categories: set[str], *, n_bins: int, more: tuple[str, ...] = ()) -> dict[str, int]:
    """Vocabulary: special tokens, value tokens, `more`, then the categories by name; ids from 0, PAD first.

    >>> list(build({"lab/potassium"}, n_bins=2))
    ['PAD', 'UNK', 'TRUNC', 'TL_START', 'TL_END', 'Q0', 'Q1', 'lab/potassium']
    """
    tokens = [*SPECIAL, *(bin_token(i) for i in range(n_bins)), *more, *sorted(categories)]
    return {token: index for index, token in enumerate(tokens)}


def suffix_ids(vocabulary: dict[str, int]) -> list[int]:
    """Ids of the tokens that tell how the stay ended: never part of a window."""
    return [i for token, i in vocabulary.items() if token == END or family(token) == SUFFIX_FAMILY]
