"""What it takes to read the code: files that a call enters, changes of file on its way, circles, `Any`s.

    python benchmarks/structure.py

Follows `calculate_loss` and `full_sort_predict` of HLR and HLR++, a whole `run` and the plan of a search, on
MovieLens-100K, and counts in the package's own files.
"""

from __future__ import annotations

import ast
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import recbole_hlr
from recbole_hlr import prepare, run
from recbole_hlr.search.plan import make_plan

PACKAGE = Path(recbole_hlr.__file__).parent
NOTHING: tuple[Any, ...] = ((), {}, {}, None, {}, "command line")  # else is given to a search
PLAIN = {"compile": "off", "show_progress": False, "epochs": 1}


def walk(call: Callable[[], Any]) -> tuple[list[str], int]:
    """Call, and return the package's files it enters and how often it changes from one to another."""
    files: list[str] = []
    changes = 0
    last = ""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal changes, last
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(str(PACKAGE)) or frame.f_code.co_name == "<module>":
            return
        file = str(Path(name).relative_to(PACKAGE))
        if file not in files:
            files.append(file)
        changes += file != last
        last = file

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files, changes


def times_called(function: Any, call: Callable[[], Any]) -> int:
    """Call, and return how often `function` was called for it."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        name, function = frame.f_code.co_filename, frame.f_code.co_name
        if (
            event == "call"
            and function == "__init__"
            and type(frame.f_locals.get("self")).__name__ == "HLRConfig"
        ):
            count += name.startswith(str(PACKAGE))

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


def imports_of(file: Path) -> set[str]:
    """Return the package's modules that a file imports, in functions too, those for types alone left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    typing = {node for block in blocks if "TYPE_CHECKING" in ast.dump(block.test) for node in ast.walk(block)}
    found: set[str] = set()
    for node in set(ast.walk(tree)) - typing:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recbole_hlr"):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("recbole_hlr")}
    return found


def circles() -> list[set[str]]:
    """Return the groups of folders, or modules at the root, that import one another in a circle."""
    rooms: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports_of(file):
            other = [*name.split("."), "__init__"][1]
            if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file():
                rooms.setdefault(room, set()).add(other)

    def reached(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            for other in rooms.get(todo.pop(), set()) - seen:
                seen.add(other)
                todo.append(other)
        return seen

    reach = {room: reached(room) - {room} for room in rooms}
    groups = {frozenset({a} | {b for b in reach[a] if a in reach.get(b, set())}) for a in rooms}
    return [set(group) for group in groups if len(group) > 1]


def main() -> None:
    """Print all figures."""
    logging.getLogger("recbole_hlr").setLevel(logging.ERROR)
    root = [file.name for file in PACKAGE.glob("*.py")]
    source = [file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")]
    words = [node for text in source for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    print(f"modules at the root: {len(root)}; circles between rooms: {circles() or 0}")
    plain, aliases = (
        sum(word.id in names for word in words) for names in ({"Any"}, {"Values", "Given", "Check"})
    )
    print(f"`Any` in annotations: {plain}; aliases that hold one (options by their keys): {aliases}")
    for name in ("HLR", "HLR++"):
        parts = prepare(name, "ml-100k", **PLAIN)
        batch = next(iter(parts.train_data))
        users = {parts.model.USER_ID: batch[parts.model.USER_ID][:64]}
        parts.model.calculate_loss(batch)  # what is built at the first call
        parts.model.full_sort_predict(users)
        for call, argument in ((parts.model.calculate_loss, batch), (parts.model.full_sort_predict, users)):
            files, changes = walk(lambda call=call, argument=argument: call(argument))  # type: ignore[misc]
            print(
                f"{name} {call.__name__}: {len(files)} files, {changes} changes of file: {', '.join(files)}"
            )
    with tempfile.TemporaryDirectory() as folder:
        files, changes = walk(lambda: run("CML", "ml-100k", checkpoint_dir=folder, **PLAIN))
    print(f"run of CML: {len(files)} files, {changes} changes: {', '.join(files)}")
    built = times_called(type(parts.config).__init__, lambda: make_plan("HLR", "ml-100k", *NOTHING))
    print(f"configurations built by a search's plan: {built}")


if __name__ == "__main__":
    main()
