"""The verifier of a password, as RFC 5803 and 7677 define it and Postgres stores it."""

from __future__ import annotations

import base64

import pytest

from services.cli.setup.scram import scram_verifier
from services.runtime.errors import ConfigurationError


def test_verifier_of_the_example_in_rfc_7677() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = scram_verifier("pencil", salt)
    # The keys that the exchange of RFC 7677, section 3, proves.
    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_two_verifiers_of_one_password_differ() -> None:
    assert scram_verifier("pencil") != scram_verifier("pencil")


@pytest.mark.parametrize("password", ["", "pässword", "tab\there", "zero\x00"])
def test_password_that_clients_could_read_differently_is_refused(password: str) -> None:
    with pytest.raises(ConfigurationError, match="printable ASCII") as refused:
        scram_verifier(password)
    assert not password or password not in str(refused.value)
