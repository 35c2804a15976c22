"""One question a file: `plan()` says which runs, `analyze(records)` what they say."""
