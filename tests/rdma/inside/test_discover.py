"""Discovery of real devices: Soft-RoCE's, whose facts are known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from remora.transport import discover


def test_all_devices_are_found_and_described() -> None:
    found = {device.name: device for device in discover.devices()}
    assert list(found) == ["rxe0", "rxe1", "rxe2"]
    for device in found.values():
        port = device.ports[0]
        assert device.usable and port.active
        assert (device.transport, port.link_layer, port.mtu_most) == ("infiniband", "ethernet", 4096)
        assert device.limits.sges >= 8 and device.limits.work_requests >= 1024 and device.limits.reads >= 16
        assert (device.dma_buf, device.dma_buf_why) == (False, "Operation not supported")
        assert not device.on_demand_paging


def test_the_address_offered_is_the_cards_ipv4_one() -> None:
    offered = {device.name: device.ports[0].best_gid() for device in discover.devices()}
    facts = {name: (gid.ip, gid.kind, gid.interface) for name, gid in offered.items() if gid}
    assert facts == {
        "rxe0": ("10.99.0.1", "roce v2", "card0"),
        "rxe1": ("10.98.0.1", "roce v2", "wire1"),
        "rxe2": ("10.98.0.2", "roce v2", "wire2"),
    }


def test_guid_is_made_of_the_cards_address() -> None:
    assert discover.devices()[0].guid == "0000:00ff:fe00:0901"


@pytest.fixture
def cable_pulled() -> object:
    subprocess.run(["ip", "link", "set", "card0", "down"], check=True)
    yield
    subprocess.run(["ip", "link", "set", "card0", "up"], check=True)


def test_the_command_line_shows_what_is_offered_and_why_a_card_cannot_be_used(cable_pulled: None) -> None:
    device = discover.devices()[0]
    assert not device.ports[0].active and not device.usable
    said = remora_rdma().stdout
    for fact in ("rxe1", "10.98.0.1", "offered to peers", "Remora can use it", "dma-buf: no"):
        assert fact in said
    assert "no port is active" in said


def test_the_command_line_tells_programs_too() -> None:
    found = json.loads(remora_rdma("--json").stdout)
    assert [device["name"] for device in found] == ["rxe0", "rxe1", "rxe2"]


def test_the_limit_on_registered_memory_is_told() -> None:
    limited = "ulimit -l 8192; setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock"
    done = subprocess.run(
        ["sh", "-c", f"{limited} --reuid 65534 --clear-groups {sys.executable} -m remora rdma"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "8 MiB (ulimit -l)" in done.stdout, done.stderr


def remora_rdma(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "remora", "rdma", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
