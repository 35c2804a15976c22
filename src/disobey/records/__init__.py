"""Every format that is written down. Imports nothing of the rest of the package."""
