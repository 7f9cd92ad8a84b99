"""`python -m deploy.monitoring.fetch_prometheus` unpacks Prometheus and promtool for tests.

They come from the Debian package `prometheus`, which apt verifies, into the cache of this checkout:
without root, and nothing is installed. Where both are installed already, those are used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".perennial" / "cache" / "prometheus"
PROGRAMS: Final = ("prometheus", "promtool")
_SECONDS: Final = 300
_ADVICE: Final = (
    "install Prometheus so that `prometheus` and `promtool` are on the PATH, "
    "or give apt a source that has the package `prometheus`"
)


class PrometheusAbsent(Exception):
    """The programs are neither here nor to be had."""


def fetch_prometheus(cache: Path = CACHE) -> dict[str, Path]:
    """Return the path of each of PROGRAMS, unpacking them into `cache` when they are nowhere.

    Raises:
        PrometheusAbsent: they cannot be had; the message says what to do.
    """
    installed = {name: shutil.which(name) for name in PROGRAMS}
    if all(installed.values()):
        return {name: Path(path) for name, path in installed.items() if path}
    found = {name: cache / name for name in PROGRAMS}
    if not all(path.is_file() for path in found.values()):
        _unpack(cache)
    return found


def _unpack(cache: Path) -> None:
    if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
        raise PrometheusAbsent(f"{' and '.join(missing)} not found: {_ADVICE}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="unpacking-") as name:
        folder = Path(name)
        package = _download(folder)
        _run(["dpkg-deb", "--extract", package, folder / "package"], folder)
        for program in PROGRAMS:
            # Complete or not there at all, whoever else unpacks at the same time.
            (folder / "package" / "usr" / "bin" / program).replace(cache / program)


def _download(folder: Path) -> Path:
    """Return the package file, with package lists of our own when apt's know nothing of it."""
    own = [f"-oDir::State={folder / 'state'}", f"-oDir::Cache={folder / 'cache'}"]
    (folder / "state" / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    download = ["apt-get", "-qq", "download", "prometheus"]
    try:
        _run(download, folder)
    except PrometheusAbsent:
        _run(["apt-get", "-qq", *own, "update"], folder)
        _run([*download[:1], *own, *download[1:]], folder)
    return next(folder.glob("prometheus_*.deb"))


def _run(command: Sequence[object], folder: Path) -> None:
    words = [str(word) for word in command]
    # Without a terminal or a question; messages in English, for those who look them up.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PrometheusAbsent(f"{words[0]} took more than {_SECONDS} s: {_ADVICE}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        last = lines[-1] if lines else f"status {done.returncode}"
        raise PrometheusAbsent(f"{words[0]} failed ({last}): {_ADVICE}")


def main() -> int:
    """Print where the programs are; return 1 when they cannot be had."""
    try:
        for path in fetch_prometheus().values():
            print(path)
    except PrometheusAbsent as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
