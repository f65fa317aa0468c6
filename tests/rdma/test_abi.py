"""transport/verbs_abi.h says what libibverbs' own header says: all offsets, sizes and numbers.

Both are asked by a program that prints them; its lines are made of the names found in Remora's header. What
Remora's calls take and return is checked by the compiler, which is given the library's own prototypes.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from remora.bench.guest import debian
from tests.programs.toolchain import ROOT

OURS = ROOT / "transport" / "verbs_abi.h"
THEIRS = "infiniband/verbs.h"
PACKAGE = "libibverbs-dev"
ELSEWHERE = {"ibv_send_wr.rdma": "wr.rdma"}  # in a union there
LONGER = ("ibv_cq", "ibv_qp")  # made by the library only: their beginnings matter
ROOMIER = "ibv_port_attr"  # filled by the library, whose later versions may write more
NOT_ALIKE = ("query_port", "wc_status_str")  # they take a structure's older name, and an enumeration
STRUCT = re.compile(r"^(struct|typedef union) (\w+) \{\n(.*?)^\}", re.M | re.S)
NESTED = re.compile(r"struct \{([^}]*)\} (\w+);")


@pytest.fixture(scope="module", autouse=True)
def header() -> None:
    debian.install(PACKAGE)


def fields(body: str) -> list[str]:
    """Names of a struct's fields, those of a nested one with its name before; not those that pad (_name)."""
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    found = [f"{name}.{field}" for inner, name in NESTED.findall(body) for field in fields(inner)]
    for declaration in NESTED.sub("", body).split(";"):
        pointer = re.search(r"\(\*(\w+)\)\(", declaration)
        names = [pointer[1]] if pointer else [re.sub(r"\[.*", "", one) for one in declaration.split(",")]
        found += [re.findall(r"\w+", name)[-1] for name in names if name.strip()]
    return [name for name in found if not name.startswith("_")]


def lines(text: str, theirs: bool) -> list[str]:
    """Statements that print one fact each, under the same name on both sides."""
    made = []
    for kind, name, body in STRUCT.findall(text):
        type_name = f"{kind.removeprefix('typedef ')} {name}"
        if name not in LONGER:
            made.append(f'printf("{name} %zu\\n", sizeof({type_name}));')
        for field in fields(body):
            place = field
            for ours, there in ELSEWHERE.items():
                if theirs and f"{name}.{field}".startswith(ours):
                    place = there + field.removeprefix(ours.partition(".")[2])
            size = f"sizeof((({type_name} *)0)->{place})"
            made.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({type_name}, {place}), {size});')
    constants = sorted(set(re.findall(r"\bIBV_[A-Z_]+\b", text)))
    return made + [f'printf("{name} %d\\n", (int){name});' for name in constants]


def facts(folder: Path, text: str, include: str, theirs: bool) -> dict[str, str]:
    program = [f"#include {include}", "#include <stddef.h>", "#include <stdio.h>", "int main(void) {"]
    source, binary = folder / f"facts{theirs}.c", folder / f"facts{theirs}"
    source.write_text("\n".join([*program, *lines(text, theirs), "}", ""]))
    subprocess.run(["gcc", "-std=gnu11", "-w", str(source), "-o", str(binary)], check=True, timeout=60)
    said = subprocess.run([binary], check=True, capture_output=True, text=True, timeout=10).stdout
    return dict(line.split(" ", 1) for line in said.splitlines())


def differences(folder: Path, text: str) -> set[str]:
    """Names of what this text of Remora's header says otherwise than the library's."""
    copy = folder / "verbs_abi.h"
    copy.write_text(text)
    ours = facts(folder, text, f'"{copy}"', theirs=False)
    theirs = facts(folder, text, f"<{THEIRS}>", theirs=True)
    assert len(ours) > 150
    assert int(ours[ROOMIER]) >= int(theirs[ROOMIER])
    return {name for name in ours if ours[name] != theirs[name] and name != ROOMIER}


def test_every_offset_size_and_number_is_the_librarys(tmp_path: Path) -> None:
    assert differences(tmp_path, OURS.read_text()) == set()


@pytest.mark.parametrize(
    ("right", "wrong", "shown"),
    [
        (
            "uint64_t addr;\n  uint32_t length, lkey;",
            "uint64_t addr;\n  uint32_t lkey, length;",
            "ibv_sge.lkey",
        ),
        ("void *_before[11];", "void *_before[10];", "ibv_context_ops.poll_cq"),
        ("uint64_t _extended[7];", "uint64_t _extended[6];", "ibv_send_wr"),
        ("IBV_SEND_INLINE = 1 << 3", "IBV_SEND_INLINE = 1 << 4", "IBV_SEND_INLINE"),
        ("IBV_WR_SEND_WITH_IMM,\n", "", "IBV_WR_RDMA_READ"),
        ("pkey_tbl_len, lid, sm_lid;", "pkey_tbl_len, sm_lid, lid;", "ibv_port_attr.lid"),
        ("uint32_t rkey;\n  } rdma;", "uint64_t rkey;\n  } rdma;", "ibv_send_wr.rdma.rkey"),
    ],
)
def test_a_header_that_is_wrong_is_noticed(tmp_path: Path, right: str, wrong: str, shown: str) -> None:
    text = OURS.read_text()
    assert text.count(right) == 1
    assert shown in differences(tmp_path, text.replace(right, wrong))


def assigned(folder: Path, table: str) -> subprocess.CompletedProcess[str]:
    """The compiler's opinion of the library's functions in Remora's table of them."""
    names = [
        name
        for name in re.findall(r"\(\*(\w+)\)\(", table.partition("} rm_verbs;")[0])
        if name not in NOT_ALIKE
    ]
    assert len(names) > 18
    program = [f"#include <{THEIRS}>", "#undef ibv_reg_mr", "typedef union ibv_gid ibv_gid;"]
    program += [table.replace('#include "verbs_abi.h"', "")]
    program += ["rm_verbs v = {", *(f".{name} = ibv_{name}," for name in names), "};"]
    source = folder / "calls.c"
    source.write_text("\n".join([*program, ""]))
    command = ["gcc", "-std=gnu11", "-Werror", "-fsyntax-only", str(source)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_calls_are_the_librarys(tmp_path: Path) -> None:
    table = (ROOT / "transport" / "verbs.h").read_text()
    done = assigned(tmp_path, table)
    assert done.returncode == 0, done.stderr
    wrong = table.replace("void *at, size_t bytes, int access", "void *at, int access")
    assert "reg_mr" in assigned(tmp_path, wrong).stderr
