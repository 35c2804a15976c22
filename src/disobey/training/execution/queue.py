"""Which runs wait, for what, and which are trained together next. Nothing here trains or touches the disk.

Runs are looked up by id: comparing recipes costs more than a small training once there are thousands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from disobey.training.recipe import Run


@dataclass(frozen=True)
class Grouping:
    """Which runs go together.

    Attributes:
        key: runs of equal keys may be trained as one stack; None: alone.
        stream: runs of equal streams are taken first.
        most: how many such runs a stack may have.
    """

    key: Callable[[Run], Hashable | None]
    stream: Callable[[Run], Hashable]
    most: Callable[[Run], int]


class Queue:
    """Runs that wait for their teachers, for a free worker, or (busy elsewhere) for a while.

    Args:
        runs: teachers first.
        have: ids of finished runs.
        grouping: which runs go together.
    """

    def __init__(self, runs: Iterable[Run], have: Iterable[str], grouping: Grouping):
        self._grouping = grouping
        self._needs: dict[str, set[str]] = {}
        self._students: dict[str, list[Run]] = {}
        self._ready: dict[Hashable, dict[Hashable, list[Run]]] = {}
        self._later: list[tuple[float, Run]] = []
        self._waiting: set[str] = set()
        self._alone: set[str] = set()
        self._mending: set[str] = set()  # teachers whose record was damaged, until they are trained again
        have = set(have)
        for run in runs:
            self._waiting.add(run.id)
            needs = {teacher.id for teacher in run.teachers()} - have
            self._needs[run.id] = needs
            for teacher in needs:
                self._students.setdefault(teacher, []).append(run)
            if not needs:
                self._add(run)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, share: int) -> list[Run]:
        """The next runs for one worker, [] where none is ready: at most a ``share``-th of those that go together."""
        now = time.monotonic()
        due = [run for when, run in self._later if when <= now]
        self._later = [(when, run) for when, run in self._later if when > now]
        for run in due:
            self._add(run)
        if not self._ready:
            return []
        key, streams = next(iter(self._ready.items()))
        together = sum(map(len, streams.values()))
        most = 1 if together == 1 else min(-(-together // share), self._grouping.most(next(iter(streams.values()))[0]))
        taken: list[Run] = []
        for name in list(streams):
            part = streams[name][: most - len(taken)]
            taken += part
            streams[name] = streams[name][len(part) :]
            if not streams[name]:
                del streams[name]
            if len(taken) == most:
                break
        if not streams:
            del self._ready[key]
        self._waiting -= {run.id for run in taken}
        return taken

    def again(self, run: Run, seconds: float, *, alone: bool = False) -> None:
        """Puts a run back, not to be taken before that time has passed; from now on ``alone`` where that is said."""
        if alone:
            self._alone.add(run.id)
        self._waiting.add(run.id)
        self._later.append((time.monotonic() + seconds, run))

    def require(self, run: Run, teacher: Run) -> bool:
        """Puts a run back until its teacher is there again; whether that teacher was put back too, which it is once."""
        self._waiting.add(run.id)
        self._needs.setdefault(run.id, set()).add(teacher.id)
        self._students.setdefault(teacher.id, []).append(run)
        if teacher.id in self._waiting or teacher.id in self._mending:
            return False
        self._mending.add(teacher.id)
        self._waiting.add(teacher.id)
        self._add(teacher)
        return True

    def finished(self, run: Run) -> None:
        """Its students may be ready now."""
        self._mending.discard(run.id)
        for student in self._students.pop(run.id, ()):
            needs = self._needs[student.id]
            needs.discard(run.id)
            if not needs and student.id in self._waiting:
                self._add(student)

    def lost(self, run: Run) -> list[Run]:
        """Removes and returns the runs that wait for this one, which failed."""
        self._mending.discard(run.id)
        students = [student for student in self._students.pop(run.id, ()) if student.id in self._waiting]
        self._waiting -= {student.id for student in students}
        return students

    def _add(self, run: Run) -> None:
        key = None if run.id in self._alone else self._grouping.key(run)
        group = ("alone", run.id) if key is None else key
        streams = self._ready.setdefault(group, {})
        streams.setdefault(None if key is None else self._grouping.stream(run), []).append(run)
