"""From findings to a `Result`: tables, charts, verdict, methods."""
