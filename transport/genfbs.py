"""Regenerates transport/generated from control.fbs: ``python -m remora.transport.genfbs [--check]``.

flatc makes readers and writers; from the same schema come SHAPES, by which :mod:`remora.transport.verify`
checks a message before anything of it is read.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMA = HERE / "control.fbs"
OUTPUT = HERE / "generated"
MARK = "# Generated from transport/control.fbs by python -m remora.transport.genfbs; do not edit.\n"
WIDTHS = {"bool": 1, "ubyte": 1, "uint16": 2, "int32": 4, "uint32": 4, "uint64": 8}


def flatc_path() -> str:
    """flatc of this Python's environment, else of PATH."""
    beside = Path(sys.executable).parent / "flatc"
    return str(beside) if beside.exists() else "flatc"


def run_flatc() -> str:
    """The Python module that flatc makes of the schema."""
    with tempfile.TemporaryDirectory() as folder:
        command = [flatc_path(), "--python", "--gen-onefile", "--gen-object-api", "-o", folder, str(SCHEMA)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return (Path(folder) / "control_generated.py").read_text()


def field_kind(name: str, enums: dict[str, str]) -> str:
    """``scalar N``, ``string``, ``scalars N`` (vector), ``tables NAME`` (vector)."""
    name = enums.get(name, name)
    if name in WIDTHS:
        return f"scalar {WIDTHS[name]}"
    if name == "string":
        return name
    element = name.strip("[]")
    return f"scalars {WIDTHS[element]}" if element in WIDTHS else f"tables {element}"


def shapes(schema: str) -> dict[str, list[str]]:
    """Each table's fields in the order of their ids."""
    text = re.sub(r"//.*", "", schema)
    enums = dict(re.findall(r"enum (\w+)\s*:\s*(\w+)", text))
    tables: dict[str, list[str]] = {}
    for name, body in re.findall(r"table (\w+) \{(.*?)\}", text, re.S):
        fields = re.findall(r"\w+: ([\w\[\]]+) \(id: (\d+)\);", body)
        tables[name] = [field_kind(kind, enums) for kind, _ in sorted(fields, key=lambda f: int(f[1]))]
    return tables


def shapes_module() -> str:
    lines = ["SHAPES: dict[str, list[str]] = {"]
    for name, kinds in shapes(SCHEMA.read_text()).items():
        lines.append(f'    "{name}": [')
        lines += [f'        "{kind}",' for kind in kinds]
        lines.append("    ],")
    return "\n".join([*lines, "}", ""])


def wanted() -> dict[Path, str]:
    return {
        OUTPUT / "__init__.py": MARK,
        OUTPUT / "control.py": MARK + "# mypy: ignore-errors\n" + run_flatc(),
        OUTPUT / "shapes.py": MARK + "\n" + shapes_module(),
    }


def main() -> int:
    """Writes the files, or with --check says which differ. Exit status 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if anything would change")
    check = parser.parse_args().check
    stale = {path: text for path, text in wanted().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(("differs: " if check else "written: ") + str(path.relative_to(HERE.parent)))
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
