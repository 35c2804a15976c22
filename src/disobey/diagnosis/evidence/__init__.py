"""What checks and tables are made from, computed once."""
