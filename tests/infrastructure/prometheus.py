"""A real Prometheus that watches services under test with the rules that we ship."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Processes
from deploy.monitoring.fetch_prometheus import fetch_prometheus

MONITORING: Final = Path(__file__).parents[2] / "deploy" / "monitoring"
_ANSWER_SECONDS: Final = 10


class Prometheus:
    """Answers queries of its API."""

    def __init__(self, address: str) -> None:
        """Ask at `address`."""
        self._address = address

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that `expression` gives now."""
        found = self._get("query", query=expression)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in found["result"]]

    def value(self, expression: str) -> float | None:
        """Return the one value of `expression`; None when it has no series yet."""
        found = self.query(expression)
        return found[0][1] if found else None

    def targets(self) -> dict[str, str]:
        """Return the health of each scraped service."""
        active = self._get("targets", state="active")["activeTargets"]
        return {each["labels"]["service"]: each["health"] for each in active}

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health and last error."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        address = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return json.load(answer)["data"]


def shipped_configuration(addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return our prometheus.yml, asking often, with each service at its address."""
    text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    configuration: dict[str, Any] = yaml.safe_load(text)
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(MONITORING / name) for name in configuration["rule_files"]]
    [job] = configuration["scrape_configs"]
    job["scrape_timeout"] = "1s"
    for group in job["static_configs"]:
        group["targets"] = [addresses[group["labels"]["service"]].partition("//")[2]]
    return configuration


@contextmanager
def watching(addresses: Mapping[str, str], folder: Path) -> Iterator[Prometheus]:
    """Yield a Prometheus that scrapes the services at `addresses`, with its state in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(shipped_configuration(addresses)), encoding="utf-8")
    port = choose_ports(folder / "ports", ["prometheus"])["prometheus"]
    processes = Processes(folder)
    try:
        child = processes.start(
            "prometheus",
            [
                fetch_prometheus()["prometheus"],
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
        )
        child.wait_for_port(port)
        ready = f"http://{HOST}:{port}/-/ready"
        ends_at = time.monotonic() + _ANSWER_SECONDS
        while not _answers(ready):
            if time.monotonic() > ends_at:
                raise child.failed("is not ready")
            time.sleep(0.1)
        yield Prometheus(f"http://{HOST}:{port}")
    finally:
        processes.close()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):  # noqa: S310
            return True
    except OSError:
        return False
