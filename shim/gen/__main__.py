"""`python -m remora.shim.gen`: writes all generated files; --check only compares, and fails.

Inputs: shim/api. Outputs: what the modules of this package say in their first lines."""

import argparse
import sys
from pathlib import Path

from . import facts as facts_of
from . import table as table_of
from .outputs import everything

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m remora.shim.gen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when regenerating would")
    parser.add_argument("--api", type=Path, default=facts_of.API, help="folder of the table and the facts")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder the outputs' paths start from")
    options = parser.parse_args()
    try:
        files = everything(table_of.load(facts_of.load(api=options.api), options.api))
    except table_of.TableError as error:
        print(f"remora.shim.gen: {error}", file=sys.stderr)
        return 1
    changed = [path for path, text in files.items() if not same(options.root / path, text)]
    if options.check:
        return report(changed)
    for path in changed:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(files[path])
    print(f"{len(files)} files, {len(changed)} changed")
    return 0


def same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def report(changed: list[str]) -> int:
    for path in changed:
        print(
            f"remora.shim.gen: {path} is not what the table says; run python -m remora.shim.gen",
            file=sys.stderr,
        )
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
