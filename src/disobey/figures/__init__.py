"""Charts, galleries and tables of studies and diagnosis: records and measures in, result blocks out; no drawing."""
