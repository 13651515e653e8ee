"""The benchmarks by name: `python -m benchmarks` lists them, `python -m benchmarks NAME [...]` runs one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(words: list[str]) -> int:
    """List the benchmarks, or run the one named with the words after it."""
    known = {
        path.stem: path for path in sorted(HERE.glob("[!_]*.py")) if "\ndef main(" in path.read_text("utf-8")
    }
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [...]      NAME --help lists its options\n")
        width = max(len(name) for name in known)
        for name, path in known.items():
            print(f"  {name:<{width}}  {first_line(path)}")
        return 0
    if words[0] not in known:
        print(f"benchmarks: expected one of {', '.join(known)}, found {words[0]!r}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m benchmarks {words[0]}", *words[1:]]
    runpy.run_module(f"benchmarks.{words[0]}", run_name="__main__", alter_sys=False)
    return 0


def first_line(path: Path) -> str:
    """First line of a module's docstring, without importing it."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
