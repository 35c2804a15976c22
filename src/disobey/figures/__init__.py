"""Charts, galleries and tables that studies and diagnosis share: records and measures in, result blocks out."""
