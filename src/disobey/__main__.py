"""`python -m disobey`, where the command is not on the path."""

from disobey.cli.main import entry

if __name__ == "__main__":
    entry()
