"""Charts, galleries and tables that studies and diagnosis share: result blocks from records and measures, not drawn."""
