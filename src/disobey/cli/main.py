"""The `disobey` command. Imports almost nothing until it knows what is asked: `--help` answers at once."""

from __future__ import annotations

import difflib
import io
import os
import signal
import sys
from collections.abc import Callable

HELP = """\
usage: disobey COMMAND [OPTIONS]

Does it pay for a student to disobey its teacher? A laboratory for knowledge distillation.

commands:
  list                  studies, data sets and models, one line each
  run STUDY             plan, train what is missing, analyze, write the report
  diagnose PAIR         a teacher and its student, from saved predictions
  train RECIPE.json     train one run, for example to repeat one from a report
  report RESULT.json    redraw a report from its result
  register STUDY        write claims, rules, settings and seeds down before the runs
  pool RESULT...        join the results of one study on several data sets
  store                 list a folder of runs, check that it is intact, remove what no report needs

`disobey COMMAND --help` shows the options of a command, `disobey run STUDY --help` those of a study.
Exit status: 0 done; 1 a run failed (or diagnose --strict has a warning); 2 unusable input or options.
"""


def _run(argv: list[str]) -> int:
    if argv and argv[0] in ("-h", "--help"):
        from disobey.studies import question_lines

        lines = ["usage: disobey run STUDY [OPTIONS]", "", "studies:", *question_lines(), ""]
        print("\n".join([*lines, "`disobey run STUDY --help` shows the options of a study."]))
        return 0
    from disobey.cli.run import main

    return main(argv)


def _list(argv: list[str]) -> int:
    from disobey.cli.listing import main

    return main(argv)


def _train(argv: list[str]) -> int:
    from disobey.cli.train import main

    return main(argv)


def _report(argv: list[str]) -> int:
    from disobey.cli.report import main

    return main(argv)


def _register(argv: list[str]) -> int:
    from disobey.cli.register import main

    return main(argv)


def _pool(argv: list[str]) -> int:
    from disobey.cli.pool import main

    return main(argv)


def _diagnose(argv: list[str]) -> int:
    from disobey.cli.diagnose import main

    return main(argv)


def _store(argv: list[str]) -> int:
    from disobey.cli.store import main

    return main(argv)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "list": _list,
    "run": _run,
    "diagnose": _diagnose,
    "train": _train,
    "report": _report,
    "register": _register,
    "pool": _pool,
    "store": _store,
}
TRAINING = {"run", "train", "register"}  # the commands that need PyTorch whatever they are asked


def _command(name: str) -> Callable[[list[str]], int]:
    if name not in COMMANDS:
        from disobey.errors import refusal

        near = difflib.get_close_matches(name, COMMANDS, 1)
        raise refusal(
            "unknown-command",
            f"a command out of {', '.join(COMMANDS)}",
            repr(name),
            repr(near[0]) if near else "disobey --help",
        )
    return COMMANDS[name]


def main(argv: list[str] | None = None) -> int:
    """Runs one command and gives its exit status. Errors that a user can fix are one message and status 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from disobey import __version__

        print(f"disobey {__version__}")
        return 0
    try:
        command = _command(argv[0])
        if argv[0] in TRAINING and not {"-h", "--help"} & set(argv):
            from disobey.packages import require

            require("torch", f"disobey {argv[0]}")
        return command(argv[1:])
    except KeyboardInterrupt as stop:
        kept = "; finished runs are kept, the same command continues from here" if argv[0] in ("run", "train") else ""
        ended = isinstance(stop, Terminated)
        print(f"\ndisobey: {'terminated' if ended else 'interrupted'}{kept}", file=sys.stderr)
        return 143 if ended else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ModuleNotFoundError as error:
        from disobey.packages import explained

        told = explained(error, f"disobey {argv[0]}")
        if told is None or os.environ.get("DISOBEY_DEBUG"):
            raise
        return complain(str(told))
    except (ValueError, OSError) as error:
        if os.environ.get("DISOBEY_DEBUG"):
            raise
        return complain(str(error))


def complain(message: str) -> int:
    """One message for a person on standard error; the exit status of unusable input."""
    print(f"disobey: {message}", file=sys.stderr)
    return 2


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends before it kills: everything ends as after Ctrl-C, with status 143."""


def _terminate(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is the tidying up
    raise Terminated


def entry() -> None:
    """The console script: threads, signals and streams before anything else."""
    # Before numpy or torch start their threads: two teams of threads on few cores are many times slower than one.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without − or § loses a sign, not the report
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
