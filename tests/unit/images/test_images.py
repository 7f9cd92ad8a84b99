"""What the images do before their server runs, with a stand-in for the server's own programs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from shutil import which
from typing import Final

ROOT: Final = Path(__file__).parents[3]
IMAGES: Final = ROOT / "deploy/images"
LOCK: Final = ROOT / "requirements.lock"

# Prints its arguments, and the properties, which stand last in both calls.
JAVA: Final = '#!/bin/bash\necho "java $*"\ncat "${@: -1}"\n'


def _run(
    entrypoint: str, bin_folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "TMPDIR": str(bin_folder)}
    return subprocess.run(
        [IMAGES / entrypoint, *arguments],
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _broker(tmp_path: Path, **environment: str) -> str:
    java = tmp_path / "java"
    java.write_text(JAVA)
    java.chmod(0o755)
    environment = {"KAFKA_PROCESS_ROLES": "broker", "KAFKA_LOG_DIRS": f"{tmp_path}"} | environment
    finished = _run("kafka/entrypoint.sh", tmp_path, **environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_environment_becomes_the_broker_s_properties(tmp_path: Path) -> None:
    output = _broker(
        tmp_path,
        KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
        KAFKA_A__B___C="x=y",
        KAFKA_HEAP_OPTS="-Xmx100m",
    )

    properties = output.splitlines()
    assert "auto.create.topics.enable=false" in properties
    assert "a_b-c=x=y" in properties
    assert not any(line.startswith("heap") for line in properties)
    assert "java -Xmx100m " in output


def test_storage_is_formatted_standalone_unless_voters_are_given(tmp_path: Path) -> None:
    alone = _broker(tmp_path)
    voting = _broker(tmp_path, KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093")

    assert "StorageTool format --standalone --cluster-id=" in alone
    assert "StorageTool format --cluster-id=" in voting


def test_made_up_cluster_id_is_one_that_kafka_takes(tmp_path: Path) -> None:
    assert re.search(r"--cluster-id=[\w-]{22} ", _broker(tmp_path))


def test_storage_is_not_formatted_again(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").touch()

    output = _broker(tmp_path)

    assert "StorageTool" not in output
    assert "kafka.Kafka" in output


def test_broker_without_properties_says_what_to_give(tmp_path: Path) -> None:
    finished = _run("kafka/entrypoint.sh", tmp_path)

    assert finished.returncode == 1
    assert "KAFKA_PROCESS_ROLES" in finished.stderr


def test_database_without_password_is_refused(tmp_path: Path) -> None:
    finished = _run("postgres/entrypoint.sh", tmp_path, "postgres", PGDATA=str(tmp_path))

    assert finished.returncode == 1
    assert "POSTGRES_PASSWORD is missing" in finished.stderr


def test_service_image_installs_the_lock_without_the_embedded_stack() -> None:
    dockerfile = (IMAGES / "service/Dockerfile").read_text()
    (left_out,) = re.findall(r'^ARG LEFT_OUT="(.*)"$', dockerfile, re.MULTILINE)

    kept = subprocess.run(
        [
            which("awk") or "awk",
            "-v",
            f"names={left_out}",
            "-f",
            IMAGES / "service/without.awk",
            LOCK,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    locked = set(re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE))
    installed = set(re.findall(r"^([\w.-]+)==", kept, re.MULTILINE))
    assert locked - installed == set(left_out.split("|"))
    blocks = re.split(r"^(?=\w)", kept, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(installed)
    assert all("--hash=sha256:" in block for block in blocks)
