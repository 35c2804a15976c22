"""`python -m disobey` is `disobey`."""

from disobey.cli.main import entry

if __name__ == "__main__":
    entry()
