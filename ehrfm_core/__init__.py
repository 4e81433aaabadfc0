"""Shared core of the dashboard for foundation models of electronic health records.

CLIF tables → events → timelines → tokens → checkpoint → states → dynamics → evaluation → study.
A stage is a pure function from frames and arrays to frames and arrays; only `ehrfm_core.study`
knows where files lie.
"""

__version__ = "0.2.0"
