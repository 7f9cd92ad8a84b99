"""Whether a broker lets us in: what is wrong with certificates and logins, in words.

The client itself only says that it reached nobody.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from services.runtime.errors import ConfigurationError
from services.runtime.settings import KafkaSettings

_ANSWER_MS: Final = 5_000
_REFUSED: Final = (AuthenticationFailedError, IllegalSaslStateError, SaslAuthenticationFailed)
_NO_TLS: Final = "WRONG_VERSION_NUMBER"


def check_credentials(settings: KafkaSettings) -> None:
    """See that protocol, mechanism and credentials go together.

    Raises:
        ConfigurationError: they do not.
    """
    sasl = settings.kafka_security_protocol.startswith("SASL")
    if sasl != (settings.kafka_sasl_mechanism is not None):
        message = (
            "set KAFKA_SASL_MECHANISM together with a SASL_ KAFKA_SECURITY_PROTOCOL, or neither"
        )
        raise ConfigurationError(message)
    if sasl and (settings.kafka_username is None or settings.kafka_password is None):
        message = "set KAFKA_USERNAME and KAFKA_PASSWORD (or KAFKA_PASSWORD_FILE) for SASL"
        raise ConfigurationError(message)


def tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """Return what verifies the broker; None without TLS.

    Raises:
        ConfigurationError: the file of certificate authorities cannot be used.
    """
    if "SSL" not in settings.kafka_security_protocol:
        return None
    try:
        return ssl.create_default_context(cafile=settings.kafka_ca_file)
    except OSError as error:
        message = (
            f"KAFKA_CA_FILE cannot be used ({type(error).__name__}): "
            "name a PEM file of certificate authorities"
        )
        raise ConfigurationError(message) from None


async def confirm_access(settings: KafkaSettings, options: dict[str, Any]) -> None:
    """Connect once to each broker with the `options` of the client, to say what it would not.

    Returns when one lets us in or cannot be reached: it may come up later.

    Raises:
        ConfigurationError: every broker refuses the login, or is not trusted.
    """
    if settings.kafka_security_protocol == "PLAINTEXT":
        return
    how = {name: each for name, each in options.items() if name != "bootstrap_servers"}
    refusals = [await _refusal(server, how) for server in settings.bootstrap_servers.split(",")]
    named = [refusal for refusal in refusals if refusal]
    if named and len(named) == len(refusals):
        raise ConfigurationError(f"Kafka: {'; '.join(named)}")


async def _refusal(server: str, how: dict[str, Any]) -> str | None:
    """Return why a broker does not let us in; None when it does, or does not answer."""
    host, _, port = server.strip().rpartition(":")
    try:
        connection = await create_conn(host, int(port), request_timeout_ms=_ANSWER_MS, **how)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate of {server} is not trusted ({error.verify_message}): set "
            "KAFKA_CA_FILE to the authority that signed it"
        )
    except UnsupportedSaslMechanismError:
        return f"{server} does not offer this KAFKA_SASL_MECHANISM: choose another"
    except _REFUSED:
        return (
            f"{server} refuses the login: check KAFKA_USERNAME, KAFKA_PASSWORD and "
            "KAFKA_SASL_MECHANISM"
        )
    except (KafkaError, OSError, TimeoutError) as error:
        no_tls = isinstance(error, ssl.SSLError) and error.reason == _NO_TLS
        return f"{server} speaks no TLS: check KAFKA_SECURITY_PROTOCOL" if no_tls else None
    with suppress(KafkaError, OSError):
        connection.close()
    return None
