"""A contact comes back from the columns that it was put into."""

from __future__ import annotations

import pytest

from schemas.requests import Channel, Contact
from services.notifier.contacts.rows import COLUMNS, columns_of, contact_of
from tests.unit.notifier.builders import CONTACT


@pytest.mark.parametrize(
    "contact",
    [
        CONTACT,
        CONTACT.model_copy(update={"phone": "+4915112345678", "channels": [Channel.SMS]}),
        CONTACT.model_copy(update={"name": None, "channels": [Channel.EMAIL, Channel.SMS]}),
    ],
)
def test_a_contact_comes_back_from_its_columns(contact: Contact) -> None:
    row = dict(zip(COLUMNS, (column[0] for column in columns_of([contact])), strict=True))
    assert contact_of(row) == contact


def test_no_contacts_are_empty_columns() -> None:
    assert columns_of([]) == [[] for _ in COLUMNS]
