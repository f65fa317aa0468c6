"""What the suites of all clients share: options, the environment of a run, modules at once, the result.

Must not know: what a client's tests are.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.clients.suite import Results, run_module
from tests.programs import harness, toolchain

OUTPUT = toolchain.ROOT / "build" / "clients"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remote", action="store_true", help="through `remora run` and a server")
    parser.add_argument("--jobs", type=int, default=2, help="modules at once")


def folder(client: str, remote: bool) -> Path:
    """Where the run's files go."""
    place = OUTPUT / f"{client}-{'remote' if remote else 'direct'}"
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def place(remote: bool, work: Path, **settings: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """What stands before a command, and its environment."""
    if remote:
        with harness.server(work, REMORA_SOFTGPU_DEVICES="1") as server:
            yield server.command("-m", "2048"), harness.clean_environment(**settings)
    else:
        yield [], harness.environment.for_softgpu(harness.clean_environment(**settings))


def run(
    client: str,
    targets: Sequence[Path],
    args: argparse.Namespace,
    options: Sequence[str] = (),
    **settings: str,
) -> None:
    """Runs the files' tests; writes and prints what became of them."""
    work = folder(client, args.remote)
    gathered: dict[str, dict[str, tuple[str, str]]] = {}

    def one(target: Path) -> None:
        results = run_module(prefix, target, work, environment, options)
        gathered[target.stem] = results.tests
        print(f"{target.stem:40} {counts(results)}", flush=True)

    with place(args.remote, work, **settings) as (prefix, environment), ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(one, targets))
    total = Results(
        {f"{module}/{test}": r for module, tests in gathered.items() for test, r in tests.items()}
    )
    file = OUTPUT / f"{work.name}.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(dict(sorted((before | gathered).items())), indent=1))
    print(f"{work.name}: {counts(total)}")


def counts(results: Results) -> str:
    tally = Counter(outcome for outcome, _ in results.tests.values())
    return ", ".join(f"{number} {outcome}" for outcome, number in tally.most_common()) or "no tests"
