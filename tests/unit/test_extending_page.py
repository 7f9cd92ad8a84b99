"""The recipes of docs/EXTENDING.md are replayed on a copy of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCK: Final = re.compile(r"<!-- (file|in): (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def replay(recipe: str, folder: Path) -> None:
    """Copy the sources to `folder`, and do there what the section `recipe` of the page says."""
    for name in ("schemas", "services"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    section = PAGE.split(f"\n## {recipe}\n")[1].split("\n## ")[0]
    for kind, path, text in BLOCK.findall(section):
        file = folder / path
        if kind == "file":
            assert not file.exists()
            file.write_text(text, encoding="utf-8")
            continue
        source = file.read_text(encoding="utf-8")
        for hunk in text.split("@@\n"):
            before, after = of_hunk(hunk, " -"), of_hunk(hunk, " +")
            assert source.count(before) == 1, f"{path} has not once:\n{before}"
            source = source.replace(before, after)
        file.write_text(source, encoding="utf-8")


def of_hunk(hunk: str, signs: str) -> str:
    return "".join(line[1:] + "\n" for line in hunk.splitlines() if line[0] in signs)


def done(folder: Path, *command: str) -> str:
    """Run a program of the environment in `folder`, with the modules there."""
    run = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_effect_is_added_by_its_file_a_line_and_what_its_result_means(tmp_path: Path) -> None:
    replay("An effect", tmp_path)
    done(tmp_path, tool("ruff"), "check", "--no-cache", "services/orders")
    done(tmp_path, tool("ruff"), "format", "--no-cache", "--check", "services/orders")
    shown = done(tmp_path, sys.executable, "-m", "services.cli", "effects", "settle", "--help")
    assert re.search(r"recheck +seen \(--reference\)", shown)
    program = (
        "from services.orders.effects import EFFECTS, Outside, build_effects\n"
        "effects = build_effects(Outside(None, None, None, None))\n"
        "assert list(effects) == [each.kind for each in EFFECTS], effects\n"
        "print(*effects)"
    )
    kinds = done(tmp_path, sys.executable, "-c", program).split()
    assert kinds[-1] == "recheck"
