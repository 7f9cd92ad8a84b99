"""A broker that wants TLS and a login, with a certificate authority of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from deploy.local.folder import JAR_CACHE
from deploy.local.kafka import KafkaBroker, fetch_jars
from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Processes

USER: Final = "perennial"
PASSWORD: Final = "the password of the broker"
SCRAM: Final = "SCRAM-SHA-512"
_PROPERTIES: Final = """\
listeners=PLAINTEXT://{host}:{plain},CONTROLLER://{host}:{controller},CLIENT://{host}:{secure}
advertised.listeners=PLAINTEXT://{host}:{plain},CLIENT://{host}:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CLIENT:SASL_SSL
sasl.enabled.mechanisms=PLAIN,{scram}
listener.name.client.ssl.keystore.type=PEM
listener.name.client.ssl.keystore.location={keystore}
listener.name.client.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.client.{scram_small}.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """Where it is, and the certificates to trust."""

    bootstrap_servers: str
    ca_file: Path

    def login(self, mechanism: str = SCRAM) -> dict[str, str]:
        """Return the settings of a client that is let in, without their prefix."""
        return {
            "BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_USERNAME": USER,
            "KAFKA_PASSWORD": PASSWORD,
            "KAFKA_CA_FILE": str(self.ca_file),
        }


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Yield a broker that lets in who trusts its authority and knows the password."""
    ports = choose_ports(folder / "ports", ["plain", "controller", "secure"])
    ca_file, keystore = _certificates(folder)
    properties = _PROPERTIES.format(
        host=HOST,
        **ports,
        scram=SCRAM,
        scram_small=SCRAM.lower(),
        keystore=keystore,
        user=USER,
        password=PASSWORD,
    )
    processes = Processes(folder)
    try:
        broker = KafkaBroker(
            folder,
            fetch_jars(JAR_CACHE),
            (ports["plain"], ports["controller"]),
            processes,
            more_properties=properties,
            format_options=["--add-scram", f'{SCRAM}=[name={USER},password="{PASSWORD}"]'],
        )
        broker.start()
        broker.child.wait_for_port(ports["secure"])
        yield SecureBroker(f"{HOST}:{ports['secure']}", ca_file)
    finally:
        processes.close()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Write the authority's certificate, and the broker's with its key as Kafka reads it."""
    authority = trustme.CA()
    ours = authority.issue_cert(HOST)
    ca_file, keystore = folder / "ca.pem", folder / "broker.pem"
    authority.cert_pem.write_to_path(ca_file)
    key = load_pem_private_key(ours.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keystore.write_bytes(pkcs8 + b"".join(blob.bytes() for blob in ours.cert_chain_pems))
    return ca_file, keystore
