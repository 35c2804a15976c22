"""Where data sets come from: packages, generators, text, the hub."""
