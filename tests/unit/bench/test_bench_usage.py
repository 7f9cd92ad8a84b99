"""What a process used is counted with its children, also those that ended meanwhile."""

from __future__ import annotations

import subprocess
import sys

from deploy.bench.usage import used

BURN_SECONDS = 0.3
PARENT = f"""
import subprocess, sys
sys.stdin.readline()
burn = "import time\\nwhile time.process_time() < {BURN_SECONDS}: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print("burnt", flush=True)
sys.stdin.readline()
"""


def test_a_child_that_ended_is_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        with used({"parent": parent.pid}) as usage:
            parent.stdin.write("go\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == "burnt\n"

    assert usage.cpu_seconds["parent"] >= BURN_SECONDS * 0.9
