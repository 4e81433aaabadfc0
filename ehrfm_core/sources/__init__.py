"""Open data into CLIF."""
