"""Two synthetic hospitals with a controlled shift and a known truth, as CLIF tables.

`hospital` says how the two differ. `latent` holds how a stay goes on and the futures behind the true risks,
`charting` what of it is written down, and with which values. `registry` and `charted` put that into CLIF
tables, `write` does so for any number of stays, `truth` keeps what no hospital knows. `plausibility` sets the
result beside real data.
"""
