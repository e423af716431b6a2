"""The house on one screen: lines of code by folder, and what breaks its rules.

    python tools/house.py

Blank lines, comments and docstrings are not counted. A folder imports only from those before it in
`FOLDERS`; the files in `BENEATH` import no folder.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "data",
    "registration",
    "statistics",
    "folds",
    "training",
    "ablations",
    "results",
    "attention",
    "explore",
    "book",
)
BENEATH = ("style", "files", "manifest", "paper", "profiles", "cluster")
CODE = {"paincore": 8_000, "tests": 7_500}  # lines
FILE, FUNCTION, FLAT = 400, 50, 12  # lines of a file and a function; files beside the folders
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Lines that hold code."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.update(range(node.lineno, node.end_lineno + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def by_folder(root: Path) -> Counter:
    """Lines of code of each folder of `root`, its own files under "(flat)"."""
    counts: Counter = Counter()
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).parts
        counts[parts[0] if len(parts) > 1 else "(flat)"] += code_lines(file.read_text("utf-8"))
    return counts


def imports(file: Path) -> Iterator[str]:
    """What of paincore a file imports when it is imported itself, as dotted names."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paincore"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def backward_imports(package: Path) -> list[str]:
    """Imports from a folder to itself's right, and from the files beneath to any folder."""
    faults = []
    for file in package.rglob("*.py"):
        here = file.relative_to(package).with_suffix("").parts[0]
        known = FOLDERS.index(here) if here in FOLDERS else -1
        if known < 0 and here not in BENEATH:
            continue
        for name in imports(file):
            there = name.split(".")[1] if "." in name else ""
            beyond = there in FOLDERS and FOLDERS.index(there) > known
            if beyond or (there in ("study", "cli") and here != "book"):
                faults.append(f"{file.relative_to(package)} imports {name}")
    return sorted(set(faults))


def too_long(folders: list[Path]) -> list[str]:
    """Files and functions beyond their bounds."""
    faults = []
    for file in sorted(path for folder in folders for path in folder.rglob("*.py")):
        source = file.read_text("utf-8")
        if (lines := len(source.splitlines())) > FILE:
            faults.append(f"{file.relative_to(ROOT)} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION:
                    faults.append(f"{file.relative_to(ROOT)}: {node.name} has {length} lines")
    return faults


def faults() -> list[str]:
    """Everything that breaks a rule of the house, in sentences."""
    found = []
    for name, bound in CODE.items():
        if (total := by_folder(ROOT / name).total()) > bound:
            found.append(f"{name} has {total} lines of code, more than {bound}")
    if (flat := len(list((ROOT / "paincore").glob("*.py")))) > FLAT:
        found.append(f"{flat} files lie flat in paincore, more than {FLAT}")
    return found + backward_imports(ROOT / "paincore") + too_long([ROOT / name for name in CODE])


if __name__ == "__main__":
    for name in CODE:
        counts = by_folder(ROOT / name)
        print(f"{name}: {counts.total():,} of {CODE[name]:,}")
        for folder, lines in counts.most_common():
            print(f"  {lines:6,} {folder}")
    found = faults()
    print(*found, sep="\n")
    sys.exit(bool(found))
