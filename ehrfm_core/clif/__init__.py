"""Read and check CLIF 2.x tables; one long table of events out."""
