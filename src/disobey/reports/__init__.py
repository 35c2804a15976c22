"""A `Result` in, one HTML file that needs no network out."""
