"""What a contact must be, since it becomes part of an email's headers and of its text."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.requests import Channel, Contact
from services.notifier.contacts.contact_check import checked, mail_address
from services.notifier.wording.locales import zone_named
from services.runtime.errors import Poison
from tests.unit.notifier.builders import CONTACT, NOW

ATTACK = "evil@example.net"


@pytest.mark.parametrize(
    ("email", "kept"),
    [
        ("lin@example.org", "lin@example.org"),
        ("Lin.Xiao+plans@EXAMPLE.org", "Lin.Xiao+plans@example.org"),
        ("lin@例え.jp", "lin@xn--r8jz45g.jp"),
        ("林@例え.jp", "林@xn--r8jz45g.jp"),
        ("zoë+plans@example.photography", "zoë+plans@example.photography"),
    ],
)
def test_an_address_is_kept_in_the_form_that_mail_servers_take(email: str, kept: str) -> None:
    assert checked(CONTACT.model_copy(update={"email": email})).email == kept


@given(
    local_part=st.text(st.sampled_from("ab.+-_A9' \n@é"), max_size=66)
    | st.sampled_from(["postmaster", "a" * 64, "a" * 65]),
    domain=st.text(st.sampled_from("ab.-9@_é \n"), max_size=70).map("{}.org".format)
    | st.sampled_from(["Example.org", "example.test", "xn--r8jz45g.jp", "例え.jp", "example.123"])
    | st.sampled_from([".".join(["a" * size] * 4) + ".org" for size in (45, 46, 47, 60)]),
)
def test_an_address_is_taken_or_refused_as_the_library_for_it_does(
    local_part: str, domain: str
) -> None:
    text = f"{local_part}@{domain}"
    try:
        expected = validate_email(
            text, check_deliverability=False, allow_smtputf8=True, strict=True
        )
        assert len(f"{expected.local_part}@{expected.ascii_domain}".encode()) <= 254
    except (EmailNotValidError, AssertionError):
        with pytest.raises(Poison):
            mail_address(text)
    else:
        assert mail_address(text) == f"{expected.local_part}@{expected.ascii_domain}"


@pytest.mark.parametrize(
    "email",
    [
        f"lin@example.org\r\nBcc: {ATTACK}",
        f"lin@example.org\nRCPT TO:<{ATTACK}>",
        "lin@example.org\r",
        "lin\x00@example.org",
        "lin\u2028@example.org",
        "lin\x85@example.org",
        f"lin@example.org, {ATTACK}",
        f"lin@example.org {ATTACK}",
        f"<{ATTACK}>",
        f"Lin <{ATTACK}>",
        '"lin\\"@x"@example.org',
        "lin@[127.0.0.1]",
        "lin@localhost",
        "lin@example",
        "@example.org",
        "林\u202e@example.org",
        "=?utf-8?q?lin?=@example.org",
        f"{'a' * 65}@example.org",
        f"lin@{'.'.join(['a' * 60] * 5)}.org",
    ],
)
def test_an_address_that_mail_servers_could_misread_is_refused(email: str) -> None:
    contact = Contact(email=email)
    with pytest.raises(Poison) as refusal:
        checked(contact)
    assert refusal.value.reason == "contact_refused"
    assert "contact.email" in str(refusal.value)
    assert ATTACK not in str(refusal.value)
    assert "example.org" not in str(refusal.value)


@pytest.mark.parametrize("field", ["name", "phone", "locale", "time_zone"])
@pytest.mark.parametrize(
    "smuggled",
    [
        *(f"x{each}y" for each in "\r\n\x00\x0b\x0c\x1b\x7f\x85\u2028\u2029\u202e"),
        "x\r\nBcc: y",
        "=?utf-8?q?x=0A?=",
    ],
)
def test_no_field_brings_a_control_character_or_an_encoded_word(field: str, smuggled: str) -> None:
    contact = CONTACT.model_copy(update={field: smuggled})
    with pytest.raises(Poison) as refusal:
        checked(contact)
    assert refusal.value.reason == "contact_refused"
    assert f"contact.{field}" in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("time_zone", "Mars/Olympus", "UTC"),
        ("time_zone", "GMT+99", "UTC"),
        ("time_zone", "../../etc/passwd", "UTC"),
        ("time_zone", "GMT+8", "GMT+8"),
        ("time_zone", "Etc/GMT-8", "Etc/GMT-8"),
        ("time_zone", "UTC", "UTC"),
        ("time_zone", "Asia/Calcutta", "Asia/Calcutta"),
        ("locale", "en;q=1", "en"),
        ("locale", "--", "en"),
        ("locale", "zh_Hant.UTF-8@x", "zh_Hant.UTF-8@x"),
    ],
)
def test_an_unusual_language_or_zone_is_kept_and_an_unknown_one_is_the_default(
    field: str, value: str, kept: str
) -> None:
    assert getattr(checked(CONTACT.model_copy(update={field: value})), field) == kept


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        *(("GMT+8", 8), ("GMT-3", -3), ("UTC+05:30", 5.5), ("UTC+14", 14), ("GMT+0800", 8)),
        *(("Etc/GMT-8", 8), ("Etc/GMT+5", -5), ("Asia/Calcutta", 5.5), ("UTC", 0), ("GMT", 0)),
    ],
)
def test_a_zone_is_where_its_name_says(name: str, hours: float) -> None:
    zone = zone_named(name)
    assert zone is not None
    assert zone.utcoffset(NOW) == timedelta(hours=hours)


@pytest.mark.parametrize("name", ["GMT+15", "UTC+14:01", "GMT+8:60", "GMT+٨", "+8", "GMT+", ""])
def test_an_offset_that_is_nowhere_is_no_zone(name: str) -> None:
    assert zone_named(name) is None


@pytest.mark.parametrize("name", ["林小雨", "Zoë Quist", "Finn O'Dell", "क्\u200dष", "O=?"])
def test_the_names_of_people_are_kept(name: str) -> None:
    assert checked(CONTACT.model_copy(update={"name": name})).name == name


def test_a_name_of_spaces_is_no_name() -> None:
    assert checked(CONTACT.model_copy(update={"name": "  "})).name is None


def test_the_contract_itself_bounds_every_length() -> None:
    with pytest.raises(ValidationError):
        Contact(email="lin@example.org", name="x" * 201)


BY_SMS = CONTACT.model_copy(update={"channels": [Channel.SMS, Channel.EMAIL, Channel.SMS]})


@pytest.mark.parametrize(
    "phone", ["+4917012345678", "+85255500142", "+14155550100", "+390612345678", "+881612345678"]
)
def test_a_number_in_the_form_of_e164_is_kept_and_channels_are_kept_once(phone: str) -> None:
    kept = checked(BY_SMS.model_copy(update={"phone": phone}))
    assert (kept.phone, kept.channels) == (phone, [Channel.EMAIL, Channel.SMS])


UNUSABLE = [
    *(
        "",
        "017012345678",
        "4917012345678",
        "004917012345678",
        "+49 170 12345678",
        "+49",
        "+0170123456",
    ),
    *(
        "+4917012345678,+19005550100",
        "+4917012345678;ext=1",
        "tel:+4917012345678",
        "+1-800-FLOWERS",
    ),
    *("+\u0664\u06691701234567", "+\uff14\uff1917012345678", "+49170123456789012", "+999123456789"),
    *("+4917012345678 ", "+19005550100", "+449098790000", "+1415555010", "lin@example.org"),
]


@pytest.mark.parametrize("phone", [None, *UNUSABLE])
def test_a_number_that_sms_cannot_use_is_refused_where_sms_is_wanted(phone: str | None) -> None:
    with pytest.raises(Poison) as refusal:
        checked(BY_SMS.model_copy(update={"phone": phone}))
    assert refusal.value.reason == "contact_refused"
    assert "contact.phone is refused: sms needs a number" in str(refusal.value)
    assert not phone or phone not in str(refusal.value)  # it is nobody else's to read


@pytest.mark.parametrize("phone", [None, *UNUSABLE])
def test_an_old_request_means_email_only_and_its_unusable_number_is_not_kept(
    phone: str | None,
) -> None:
    """Such requests were taken before there were other channels, whatever their number was."""
    kept = checked(CONTACT.model_copy(update={"phone": phone}))
    assert (kept.phone, kept.channels) == (None, [Channel.EMAIL])


@given(phone=st.text(st.sampled_from("+0123456789 -()\u0661"), max_size=18))
def test_what_is_kept_of_a_number_is_e164_or_nothing(phone: str) -> None:
    kept = checked(CONTACT.model_copy(update={"phone": phone})).phone
    assert kept is None or (kept == phone and re.fullmatch(r"\+[1-9][0-9]{6,14}", kept, re.ASCII))
