"""Environment files by which a shell or a program is one of the broker's users from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.local.folder import write_private
from deploy.local.servers.broker_security import ADMIN
from deploy.local.stack import LocalStack
from schemas.access import OBSERVER, OPERATOR

SHELL_ROLES: Final = {
    "upstream": "publishes requests",
    "gateway": "publishes confirmations",
    OPERATOR: "what the commands are without a file",
    OBSERVER: "reads what the services say",
    ADMIN: "sets up topics and access",
}


def write_clients(stack: LocalStack) -> dict[str, Path]:
    """Write a file for each role that is no service; nothing where the broker asks nobody.

    They name the files that hold the passwords, and hold none.
    """
    addresses = stack.addresses()
    if not addresses.kafka_logins:
        return {}
    folder = stack.folder / "clients"
    folder.mkdir(exist_ok=True, mode=0o700)
    files = {role: folder / f"{role}.env" for role in SHELL_ROLES}
    for role, file in files.items():
        settings = addresses.kafka(role)
        write_private(file, "".join(f"PERENNIAL_{n}='{v}'\n" for n, v in settings.items()))
    return files
