"""Which kernel is built, when, and by whom. The build itself is stood in for: it takes minutes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from remora.bench.guest import NoGuest, choose, kernel, qemu, request, uml


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("REMORA_GUEST_KERNEL", raising=False)
    return tmp_path / "remora" / "guest"


def test_two_who_need_the_kernel_build_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def build(target: Path) -> Path:
        time.sleep(0.2)
        target.write_text("kernel")
        built.append(target)
        return target

    monkeypatch.setattr(kernel, "build", build)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(kernel.ensure())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert found == built * 3


def test_another_configuration_is_another_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel.key()
    other = tmp_path / "config"
    other.write_text(kernel.CONFIG.read_text() + "CONFIG_TUN=y\n")
    monkeypatch.setattr(kernel, "CONFIG", other)
    assert kernel.key() != before
    monkeypatch.setattr(kernel, "SOURCE", "linux-source-6.13")
    assert kernel.find() is None


def test_a_build_that_failed_is_not_repeated_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def build(target: Path) -> Path:
        tries.append(target)
        raise NoGuest("compiling failed: no space left")

    monkeypatch.setattr(kernel, "build", build)
    for _ in range(2):
        with pytest.raises(NoGuest, match="no space left"):
            kernel.ensure()
    assert len(tries) == 1
    with pytest.raises(NoGuest, match="no space left"):
        kernel.ensure(again=True)
    assert len(tries) == 2


def test_qemu_runs_where_the_kernel_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    choose.select.cache_clear()
    monkeypatch.delenv("REMORA_GUEST_KIND", raising=False)
    monkeypatch.setattr(uml, "prepare", refuse("no compiler"))
    monkeypatch.setattr(qemu, "prepare", lambda again=False: Path("made"))
    assert choose.kind() == "qemu"
    choose.select.cache_clear()


def test_without_any_guest_all_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    choose.select.cache_clear()
    monkeypatch.delenv("REMORA_GUEST_KIND", raising=False)
    monkeypatch.setattr(uml, "prepare", refuse("no compiler"))
    monkeypatch.setattr(qemu, "prepare", refuse("no qemu"))
    with pytest.raises(NoGuest, match="uml: no compiler; qemu: no qemu"):
        choose.prepare()


def refuse(reason: str) -> object:
    def prepare(again: bool = False) -> Path:
        raise NoGuest(reason)

    return prepare


def test_tests_that_did_not_run_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.rdma import __main__ as suite

    monkeypatch.setattr(suite, "prepare", refuse("no qemu"))
    monkeypatch.setattr(suite.sys, "argv", ["rdma"])
    assert suite.main() != 0
    assert "RDMA TESTS NOT RUN: no qemu" in capsys.readouterr().err
    for ended_as in (request.FAILED, request.TOO_LONG):
        monkeypatch.setattr(suite.choose, "run", lambda _, status=ended_as: status)
        assert suite.inside(["tests"]) != 0
        assert "RDMA TESTS NOT RUN" in capsys.readouterr().err
