"""Mutants of the functions that decide verdicts, and whether tests notice: ``python -m tests.support.rule_mutants``.

One place of one function is changed at a time (a comparison flipped, a sign or constant changed, ``and`` for ``or``, a
``not`` dropped, a word exchanged); the function in the module is replaced, and the fast tests of rules and of the kit
run in this process. A mutant is killed where one of them fails.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from disobey.studies.kit import claims, verdicts

DECIDING: tuple[tuple[ModuleType, str], ...] = (
    (verdicts, "_word"),
    (verdicts, "_one_side"),
    (verdicts, "_all_of"),
    (verdicts, "decide"),
    (verdicts, "side"),
    (verdicts, "silent"),
    (verdicts, "shares_level"),
    (claims, "Verdicts.corrected"),
    (claims, "p_value"),
    (claims, "_decided"),
)
FLIPPED = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
WORDS = ("supported", "contradicted", "negligible", "undecided")

# Mutants that no test can tell from the original, by function and description, with the reason.
EMPTY = "an interval within a margin of 0 would have to end before it begins"
SAME = "one chance has the whole level: the same estimates are asked for twice"
EQUIVALENT: dict[tuple[str, str], str] = {
    ("_word", "6:12: rule.margin > 0 -> rule.margin >= 0"): EMPTY,
    ("_one_side", "3:31: rule.margin > 0 -> rule.margin >= 0"): EMPTY,
    ("_decided", "5:56: chances > 1 -> chances >= 1"): SAME,
    ("_decided", "5:66: 1 -> 0"): SAME,
}


@dataclass(frozen=True)
class Mutant:
    """One changed function.

    Attributes:
        name: of the function.
        where: line and column within the function, and what was changed into what.
        tree: the changed function.
    """

    name: str
    where: str
    tree: ast.FunctionDef


def mutants(source: str, name: str) -> Iterator[Mutant]:
    """Every mutant of a function's source."""
    whole = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(whole, ast.FunctionDef)
    nodes = len(list(ast.walk(whole)))
    for index in range(nodes):
        for which in range(4):
            tree = copy.deepcopy(whole)
            node = list(ast.walk(tree))[index]
            before = ast.unparse(node) if isinstance(node, (ast.expr, ast.stmt)) else ""
            changed = _changed(node, which)
            if changed is None:
                break
            line = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}: {before} -> {changed}"
            yield Mutant(name, line, tree)


def _changed(node: ast.AST, which: int) -> str | None:
    """Changes a node in place, in the way numbered ``which``; what it is then, None where there is no such way."""
    if isinstance(node, ast.Compare):
        ways = [(i, new) for i, op in enumerate(node.ops) for new in FLIPPED.get(type(op), ())]
        if which >= len(ways):
            return None
        place, new = ways[which]
        node.ops[place] = new()
    elif isinstance(node, ast.BoolOp) and which == 0:
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp) and which == 0 and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and which == 0 and isinstance(node.op, (ast.Not, ast.USub)):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else _dropped(node)
    elif isinstance(node, ast.IfExp) and which == 0:
        node.body, node.orelse = node.orelse, node.body
    elif isinstance(node, ast.Constant):
        if node.value in WORDS and isinstance(node.value, str):
            others = [word for word in WORDS if word != node.value]
            if which >= len(others):
                return None
            node.value = others[which]
        elif isinstance(node.value, (int, float)) and not isinstance(node.value, bool) and which == 0:
            node.value = 1 - node.value if node.value in (0, 1) else node.value + 1
        else:
            return None
    else:
        return None
    return ast.unparse(node) if isinstance(node, (ast.expr, ast.stmt)) else "?"


def _dropped(node: ast.UnaryOp) -> ast.unaryop:
    """``not x`` as ``not not x``."""
    node.operand = ast.UnaryOp(ast.Not(), node.operand)
    return ast.Not()


def installed(mutant: Mutant, module: ModuleType) -> Callable[[], None]:
    """Puts the changed function in the module; the answer puts the old one back.

    The code object is exchanged, so that it changes for whoever has imported the function, too.
    """
    function = find(module, mutant.name)
    old = function.__code__, function.__defaults__
    tree = copy.deepcopy(mutant.tree)
    tree.decorator_list = []
    space: dict[str, Any] = {}
    code = compile(ast.fix_missing_locations(ast.Module([_future(), tree], [])), module.__file__ or "", "exec")
    exec(code, dict(vars(module)), space)
    function.__code__, function.__defaults__ = space[tree.name].__code__, space[tree.name].__defaults__

    def back() -> None:
        function.__code__, function.__defaults__ = old

    return back


def _future() -> ast.stmt:
    return ast.ImportFrom("__future__", [ast.alias("annotations")], 0)


def find(module: ModuleType, name: str) -> Any:
    """A function of a module, or a method as Class.method."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def run(module: ModuleType, name: str, passes: Callable[[], bool]) -> tuple[int, list[Mutant]]:
    """(number of mutants, those that survive)."""
    source, count, left = inspect.getsource(find(module, name)), 0, []
    for mutant in mutants(source, name):
        count += 1
        back = installed(mutant, module)
        try:
            if passes():
                left.append(mutant)
        finally:
            back()
    return count, left


def cases(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """The arguments of every case of a parametrized test."""
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", ()):
        assert mark.name == "parametrize"
        names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
        rows = [(row,) if len(names) == 1 else row for row in mark.args[1]]
        found = [case | dict(zip(names, row, strict=True)) for case in found for row in rows]
    yield from found


def fast_tests() -> list[Callable[[], None]]:
    """Every case of the tests of rules and of claims in the kit that takes no simulation."""
    from tests.studies import test_kit, test_rules

    chosen = [test for name, test in vars(test_rules).items() if name.startswith("test_") and "could_have" not in name]
    of_claims = ("claims", "words", "p_value", "methods")
    chosen += [
        t for name, t in vars(test_kit).items() if name.startswith("test_") and any(w in name for w in of_claims)
    ]
    return [lambda test=test, case=case: test(**case) for test in chosen for case in cases(test)]


def survives(tests: list[Callable[[], None]]) -> bool:
    """Whether all tests pass."""
    for test in tests:
        try:
            test()
        except Exception:
            return False
    return True


def main() -> int:
    """Prints killed and surviving mutants of every deciding function; 1 where one survives that is not equivalent."""
    tests = fast_tests()
    if not survives(tests):
        print("the tests fail without a mutant")
        return 2
    total = killed = 0
    failures = []
    for module, name in DECIDING:
        count, left = run(module, name, lambda: survives(tests))
        real = [m for m in left if (m.name, m.where) not in EQUIVALENT]
        total, killed = total + count, killed + count - len(left)
        failures += real
        print(
            f"{name:<20} {count:>3} mutants, {count - len(left):>3} killed, {len(left) - len(real)} equivalent",
            flush=True,
        )
        for mutant in real:
            print(f"    survives: {mutant.where}", flush=True)
    print(f"{killed} of {total} killed; {total - killed - len(failures)} equivalent; {len(failures)} survive")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
