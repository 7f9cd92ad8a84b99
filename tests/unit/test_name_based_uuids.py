"""Ids that follow from names are those of RFC 9562."""

from __future__ import annotations

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import name_based_uuid


@given(namespace=st.uuids(), name=st.text(st.characters(codec="utf-8")))
def test_name_based_uuid_is_the_standard_librarys_uuid5(namespace: UUID, name: str) -> None:
    assert name_based_uuid(namespace, name) == uuid5(namespace, name)
