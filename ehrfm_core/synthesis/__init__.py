"""Two synthetic hospitals with a controlled shift and a known truth, as CLIF tables.

`hospital` says how the two differ, `physiology` and `care` how a stay goes on, `simulate` runs patients and
the futures behind the true risks, `charting` and `readings` what of it is written down, `tables` puts that
into CLIF, `write` does so for any number of stays, `truth` keeps what no hospital knows.
"""
