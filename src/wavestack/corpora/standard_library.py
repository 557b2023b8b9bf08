"""The running interpreter's standard library as two corpora that need no download: English (docs) and Python (code).

Both change with the interpreter, so a manifest names its version.
"""

import ast
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

# Tests are left out, and what does not belong to the library itself or differs between two builds of one version.
LEFT_OUT = {"test", "tests", "idle_test", "testmock", "site-packages", "dist-packages", "__pycache__"}
BUILD_FILES = ("_sysconfigdata", "config-")
# Character tables that this program wrote: eighty near-copies of one page of code, which would stand in every split.
GENERATED = "gencodec.py"


def docs() -> Iterator[str]:
    """One document a module (its docstrings, cleaned, in the order of the source), then one a topic of `help()`."""
    from pydoc_data.topics import topics

    for source in _modules():
        found = [ast.get_docstring(owner) or "" for owner, _ in _docstrings(ast.parse(source))]  # cleaned
        if found:
            # A docstring may name a lone surrogate, which no UTF-8 text can hold.
            yield "\n\n".join(found).encode(errors="replace").decode()
    for _, text in sorted(topics.items()):
        yield text


def code() -> Iterator[str]:
    """One document a module: its source without docstrings, comments kept. The topics of `help()` are no code."""
    for source in _modules(without="pydoc_data"):
        yield without_docstrings(source)


def without_docstrings(source: str) -> str:
    """Python source without its docstrings, every other line as it was written.

    A docstring that fills its lines goes with them; one that shares a line, or is all that a body holds, becomes
    `pass`.
    """
    lines = [line.encode() for line in source.split("\n")]  # the columns of a syntax tree count bytes
    for owner, node in reversed(_docstrings(ast.parse(source))):  # from the end, so that earlier lines stay where they are
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        alone = not before.strip() and not after.strip()
        if alone and (len(owner.body) > 1 or isinstance(owner, ast.Module)):
            del lines[first : last + 1]
        else:
            lines[first : last + 1] = [before + b"pass" + after]
    return b"\n".join(lines).decode()


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _docstrings(tree: ast.AST) -> list[tuple[Documented, ast.Expr]]:
    """Owners and docstrings of a tree in the order of the source."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            assert isinstance(node.body[0], ast.Expr)
            found.append((node, node.body[0]))
    return sorted(found, key=lambda pair: (pair[1].lineno, pair[1].col_offset))


def _modules(without: str = "") -> Iterator[str]:
    """Sources of the modules of the standard library, sorted by their paths below it."""
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py")):
        parts = name.split("/")
        if LEFT_OUT.isdisjoint(parts) and not parts[0].startswith(BUILD_FILES) and parts[0] != without:
            with tokenize.open(root / name) as file:  # reads a module in the encoding that it declares
                source = file.read()
            if GENERATED not in source:
                yield source
