"""What makes a broker want TLS and a login of everybody: certificates, users, and no rights unasked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from deploy.local.folder import write_private
from deploy.local.ports import HOST
from schemas.access import roles

ADMIN: Final = "admin"
"""The super user: sets up topics and access, and is no part of the system."""
USERS: Final = (ADMIN, *roles())
MECHANISM: Final = "SCRAM-SHA-512"
# The controller's own listener is closed to others too: who could write to it needs no lists. It
# takes no SCRAM, whose users are in the log that the controller keeps.
_PROPERTIES: Final = """\
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
sasl.enabled.mechanisms=PLAIN,{mechanism}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain_login}
listener.name.client.plain.sasl.jaas.config={plain_login}
listener.name.client.{mechanism_small}.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{admin}
"""
_PLAIN_LOGIN: Final = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="{admin}" password="{password}" user_{admin}="{password}";'
)


class BrokerSecurity:
    """One broker's certificates, made anew each time, and its users, whose passwords stay."""

    protocol: Final = "SASL_SSL"

    def __init__(self, folder: Path, passwords: Mapping[str, str]) -> None:
        """Write the certificates and a file for each password (by user) below `folder`.

        The authority signs one certificate and is forgotten: nobody can sign another.
        """
        self._passwords = {user: passwords[user] for user in USERS}
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ca_file = folder / "ca.pem"
        self._keystore = folder / "broker.pem"
        self._write_certificates()
        for user, password in self._passwords.items():
            write_private(self._password_file(user), password)

    def properties(self) -> str:
        """Return what is added to the broker's own; it holds the administrator's password."""
        login = _PLAIN_LOGIN.format(admin=ADMIN, password=self._passwords[ADMIN])
        return _PROPERTIES.format(
            mechanism=MECHANISM,
            mechanism_small=MECHANISM.lower(),
            keystore=self._keystore,
            truststore=self.ca_file,
            plain_login=login,
            admin=ADMIN,
        )

    def users(self) -> str:
        """Return the users with their passwords, as the formatting of the storage takes them."""
        lines = [
            f'--add-scram\n{MECHANISM}=[name={user},password="{password}"]\n'
            for user, password in self._passwords.items()
        ]
        return "".join(lines)

    def login(self, user: str) -> dict[str, str]:
        """Return the settings of a client that is let in as `user`, without their prefix."""
        return {
            "KAFKA_SECURITY_PROTOCOL": self.protocol,
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_USERNAME": user,
            "KAFKA_PASSWORD_FILE": str(self._password_file(user)),
            "KAFKA_CA_FILE": str(self.ca_file),
        }

    def _password_file(self, user: str) -> Path:
        return self._folder / f"{user}.password"

    def _write_certificates(self) -> None:
        """Write the authority's certificate, and the broker's with its key as Kafka reads it."""
        authority = trustme.CA()
        ours = authority.issue_cert(HOST)
        authority.cert_pem.write_to_path(self.ca_file)
        key = load_pem_private_key(ours.private_key_pem.bytes(), password=None)
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(blob.bytes() for blob in ours.cert_chain_pems)
        write_private(self._keystore, (pkcs8 + chain).decode())
