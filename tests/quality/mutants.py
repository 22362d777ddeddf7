"""Change the signal path and the network in one place at a time, and see whether a test notices.

    python tests/quality/mutants.py --sample 12 --seed 1
    python tests/quality/mutants.py --module dsp/comb --show

mutmut leaves out functions with decorators, which all kernels are; cosmic-ray starts Python anew for each change. Here
a process that has numpy, numba and pytest loaded is forked for each. It puts the changed module in the place of the
real one, and compiles what depends on it and the kernels of the tests: nothing of that comes from or goes to the cache
of kernels. Then it runs the tests of the module until one fails. A process that crashes or does not end has noticed,
too. Linux, some seconds of CPU for each change. Nothing is written into the tree.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import random
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "percepnet_cli"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

TESTS = {
    "dsp/bands": ["test_bands"],
    "dsp/comb": ["test_comb"],
    "dsp/elementary": ["test_elementary"],
    "dsp/features": ["test_features"],
    "dsp/fft": ["test_stft", "test_pitch"],
    "dsp/gains": ["test_gains"],
    "dsp/highpass": ["test_highpass"],
    "dsp/link": ["test_link", "test_denoiser"],
    "dsp/pitch": ["test_pitch"],
    "dsp/presets": ["test_presets"],
    "dsp/stft": ["test_stft"],
    "dsp/whitening": ["test_pitch"],
    "network/activations": ["test_layers"],
    "network/blocks": ["test_network", "test_bidirectional"],
    "network/dot": ["test_dot"],
    "network/dot_extern": ["test_export"],
    "network/dot_tiles": ["test_dot"],
    "network/float_reference": ["test_network"],
    "network/graph": ["test_network", "test_modelfile"],
    "network/layers": ["test_layers", "test_network"],
    "network/modelfile": ["test_modelfile", "test_untrusted"],
    "network/percepnet": ["test_network"],
    "network/quantize": ["test_quantize", "test_network"],
    "network/shipped": ["test_models_command"],
}
"""Module -> the tests that are to notice changes in it."""

MOST_CPU_SECONDS = 90
"""CPU time for the tests of one change; loops that do not end take more."""

MOST_SECONDS = 1800
"""Time for them by the clock."""

ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
              ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
              ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd}  # fmt: skip
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
               ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip


# --- Changes -----------------------------------------------------------------------------------


def changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may become of a node: a word for it and the new node."""
    new = copy.copy(node)

    if isinstance(new, ast.BinOp | ast.AugAssign) and type(new.op) in ARITHMETIC:
        new.op = ARITHMETIC[type(new.op)]()
        yield "operator", new
    elif isinstance(new, ast.Compare):
        for place, operator in enumerate(new.ops):
            other = copy.copy(new)
            other.ops = [*new.ops[:place], COMPARISONS[type(operator)](), *new.ops[place + 1 :]]
            yield "comparison", other
    elif isinstance(new, ast.BoolOp):
        new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
        yield "and, or", new
    elif isinstance(new, ast.UnaryOp) and isinstance(new.op, ast.USub | ast.Not):
        yield "sign", new.operand
    elif isinstance(new, ast.Constant) and isinstance(new.value, bool):
        new.value = not new.value
        yield "truth", new
    elif isinstance(new, ast.Constant) and isinstance(new.value, int | float):
        new.value += 1
        yield "number", new
    elif isinstance(new, ast.IfExp):
        new.body, new.orelse = new.orelse, new.body
        yield "branches", new
    elif isinstance(new, ast.Break | ast.Continue):
        yield "loop", ast.Continue() if isinstance(new, ast.Break) else ast.Break()
    elif _is_effect(new):
        yield "left out", ast.Pass()


def _is_effect(node: ast.AST) -> bool:
    """Return whether a statement is there for what it does to others: a call, a value put into an array."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Subscript)
    return isinstance(node, ast.Expr) and not _is_text(node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class _Place(ast.NodeTransformer):
    """Counts the changes of a module, and makes one."""

    def __init__(self, wanted: int = -1) -> None:
        self.count, self.wanted = 0, wanted
        self.what, self.line = "", 0

    def visit(self, node: ast.AST) -> ast.AST:
        """Visit what computes: neither annotations nor imports."""
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                node.value = self.visit(node.value)
            return node
        if isinstance(node, ast.arg | ast.Import | ast.ImportFrom) or _is_text(node):
            return node
        result: ast.AST | None = None
        for what, new in changes_of(node):
            if self.count == self.wanted:
                self.what, self.line, result = what, node.lineno, new
            self.count += 1
        if isinstance(node, ast.FunctionDef):  # decorators and annotations stay
            node.args.defaults = [self.visit(one) for one in node.args.defaults]
            node.body = [self.visit(one) for one in node.body]
        else:
            self.generic_visit(node)
        return node if result is None else ast.copy_location(result, node)


def count(source: str) -> int:
    """Return how many changes there are to a module."""
    place = _Place()
    place.visit(ast.parse(source))
    return place.count


def changed(source: str, number: int) -> tuple[ast.Module, str]:
    """Return a module with one change, and what it is: line, kind, old and new text."""
    tree, place = ast.parse(source), _Place(number)
    tree = place.visit(tree)
    ast.fix_missing_locations(tree)
    before, after = ast.unparse(ast.parse(source)).splitlines(), ast.unparse(tree).splitlines()
    old, new = next(
        ((a, b) for a, b in zip(before, after, strict=False) if a != b), ("", "")
    )  # the texts have as many lines
    return tree, f"line {place.line}, {place.what}: `{old.strip()}` became `{new.strip()}`"


# --- Tests -------------------------------------------------------------------------------------


def independent(module: str) -> set[str]:
    """Return the names of all modules of the package that import a module neither at first nor at second hand."""
    imports = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
            elif isinstance(node, ast.Import):
                found |= {one.name for one in node.names}
        imports[name] = found
    reached, new = set(), {module}
    while new:
        reached |= new
        new = {name for name, found in imports.items() if found & new} - reached
    return set(imports) - reached


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module its changed form."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, path: object, target: object = None) -> object:
        """Find the changed module."""
        return (
            importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None
        )

    def create_module(self, spec: object) -> None:
        """Let Python make the module."""

    def exec_module(self, module: object) -> None:
        """Run the changed code."""
        exec(compile(self.tree, str(self.path), "exec"), vars(module))


def _test(name: str, path: Path, tree: ast.Module, tests: list[str]) -> None:
    """Run in a forked process: tests with a changed module. Exits with pytest's code."""
    import pytest

    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SECONDS, MOST_CPU_SECONDS + 5))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    sys.meta_path.insert(0, _Finder(name, path, tree))
    from percepnet_cli.compute import jit

    # A kernel of a test file holds the machine code of what it calls, too: only those of the package are kept.
    keep, kept = jit._keep, independent(name)
    jit._keep = lambda compiled, function: keep(compiled, function) if function.__module__ in kept else None
    os.chdir(ROOT)
    files = [f"tests/{test}.py" for test in tests]
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--hypothesis-seed=1",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-m",
        "not slow and not alone and not service and not ffmpeg",
    ]
    os._exit(pytest.main([*options, *files]))


def verdict(name: str, path: Path, tree: ast.Module, tests: list[str]) -> str:
    """Return what the tests say of a change: noticed, crashed, endless or survived."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _test(name, path, tree, tests)
        os._exit(1)
    watched = os.pidfd_open(child)
    ready, _, _ = select.select([watched], [], [], MOST_SECONDS)
    os.close(watched)
    with contextlib.suppress(ProcessLookupError):  # and what the tests started
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "endless"
    if os.WIFSIGNALED(status):
        return "crashed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "noticed"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="only these")
    parser.add_argument("--sample", type=int, help="so many changes of each module  [default: all]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="only this change")
    parser.add_argument("--show", action="store_true", help="show the changes, test nothing")
    options = parser.parse_args()

    import hypothesis  # noqa: F401  loaded once for all
    import numba  # noqa: F401
    import pytest  # noqa: F401
    import scipy.linalg  # noqa: F401
    import soundfile  # noqa: F401

    total: dict[str, int] = {}
    for module in options.module or TESTS:
        path = PACKAGE / f"{module}.py"
        name, source = f"percepnet_cli.{module.replace('/', '.')}", path.read_text("utf-8")
        numbers = list(range(count(source)))
        if options.number is not None:
            numbers = [options.number]
        elif options.sample and options.sample < len(numbers):
            numbers = sorted(random.Random(f"{options.seed}:{module}").sample(numbers, options.sample))
        found: dict[str, int] = {}
        begin = time.monotonic()
        if not options.show and verdict(name, path, ast.parse(source), TESTS[module]) != "survived":
            print(f"{module}: its tests fail without any change", flush=True)
            continue
        for number in numbers:
            tree, what = changed(source, number)
            said = "" if options.show else verdict(name, path, tree, TESTS[module])
            found[said] = found.get(said, 0) + 1
            if options.show or said == "survived":
                print(f"{module} {number} {said} {what}", flush=True)
        if not options.show:
            print(
                f"{module}: of {count(source)} tried {len(numbers)}, {found}, {time.monotonic() - begin:.0f} s",
                flush=True,
            )
            total = {key: total.get(key, 0) + found.get(key, 0) for key in total | found}
    print(total)


if __name__ == "__main__":
    main()
