"""Discovery where there is nothing to discover, and of what others' devices would say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remora.transport import discover
from remora.transport.discover import Gid, Port

NONE = "this machine has no RDMA device"


@pytest.fixture
def no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if discover.names():
        monkeypatch.setattr(discover, "devices", list)


def test_a_machine_without_devices_is_told_so(
    no_devices: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from remora.engine.cli import app

    monkeypatch.setattr(sys, "argv", ["remora", "rdma"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("remora: ") and len(said.splitlines()) == 1
    assert NONE in said or "pyverbs is not installed" in said


def test_without_pyverbs_the_user_learns_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pyverbs'] = None\n"
        "from remora.transport import discover\n"
        "try: discover.devices()\n"
        "except discover.NoVerbs as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "python3-pyverbs" in done.stdout and "remora[rdma]" in done.stdout, done.stderr


def test_devices_that_the_kernel_has_are_named_when_pyverbs_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlx5_0").mkdir()
    monkeypatch.setattr(discover, "SYSFS", tmp_path)
    assert "this machine has mlx5_0, but pyverbs" in discover.missing(
        ImportError("No module named 'pyverbs'")
    )
    lacking = ImportError("libibverbs.so.1: cannot open shared object file")
    assert "install ibverbs-providers" in discover.missing(lacking)


def port(*gids: Gid, state: str = "active") -> Port:
    return Port(1, state, "ethernet", 4096, 4096, 100.0, 0, 1 << 31, gids)


@pytest.mark.parametrize(
    ("kinds", "best"),
    [
        (["fe80::1 ib", "fe80::2 ib"], 0),
        (["fe80::1 roce v1", "fe80::1 roce v2", "::ffff:10.0.0.1 roce v1", "::ffff:10.0.0.1 roce v2"], 3),
        (["fe80::1 roce v2", "fd00::1 roce v2"], 1),
        (["::ffff:10.0.0.1 roce v1", "fe80::1 roce v2"], 1),
    ],
)
def test_the_address_that_reaches_furthest_is_offered(kinds: list[str], best: int) -> None:
    gids = [Gid(n, *line.split(" ", 1), "eth0") for n, line in enumerate(kinds)]
    chosen = port(*gids).best_gid()
    assert chosen and chosen.index == best


def test_a_port_without_addresses_offers_none() -> None:
    assert port().best_gid() is None


def test_addresses_are_shown_as_the_card_has_them() -> None:
    assert Gid(1, "::ffff:a63:1", "roce v2", "eth0").ip == "10.99.0.1"
    assert Gid(0, "fe80::1", "roce v2", "eth0").ip == "fe80::1"
