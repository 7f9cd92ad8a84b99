"""The bytes of an email: the same every time, and nothing in them that nobody put there."""

from __future__ import annotations

import email
import re
from dataclasses import replace
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.channels.email.message import (
    Letterhead,
    UnsafeMessage,
    build_mail,
    check_head,
    sha256_of,
)
from services.notifier.channels.email.texts import RenderedEmail, render
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier.builders import CONTACT, LETTERHEAD, fact_of

RENDERED = RenderedEmail(
    subject="您的套餐已生效：香港 7 天 5GB，有效期至 2026 年 11 月 27 日，请勿回复本邮件，谢谢您的使用",
    text="您好，\n.点开头的行\n您的套餐已生效。\n",
    html="<p>您好，</p>\n<p>您的套餐已生效。</p>\n",
    template="renewal_confirmed",
    template_version="1",
    locale="zh-Hans",
)
ENGLISH = replace(
    RENDERED,
    subject="Your plan is active",
    text="Hello,\n.a line that begins with a dot\n" + "long " * 300 + "\n",
    html="<p>Hello = hello</p>\n",
    locale="en",
)
RECIPIENT = "lin@example.org"
WITHOUT_REPLY_TO = replace(LETTERHEAD, reply_to=None)
ATOM = r"[A-Za-z0-9_+'=?-]{1,20}"
ADDRESSES = st.from_regex(
    rf"{ATOM}(\.{ATOM}){{0,2}}@([A-Za-z0-9-]{{1,63}}\.){{1,3}}[a-z]{{2,6}}", fullmatch=True
)
SMUGGLED = st.text(
    st.sampled_from("\r\n\t :=?_-\0\x0b\x0c\x1c\x7f\x85\u2028aBcé")
) | st.sampled_from(
    ["\r\nBcc: x@example.org", "\nBcc: x", "\rBcc: x", "\r\n\r\nHello", "\r\n Bcc: x", "\r\nTo: x"]
)


def read_back(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=SMTP)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize("rendered", [RENDERED, ENGLISH])
def test_the_same_fact_makes_the_same_bytes(rendered: RenderedEmail) -> None:
    first = build_mail(fact_of(), rendered, RECIPIENT, LETTERHEAD)
    second = build_mail(fact_of(), rendered, RECIPIENT, LETTERHEAD)
    assert first.content == second.content
    assert sha256_of(first) == sha256_of(second)


@pytest.mark.parametrize("rendered", [RENDERED, ENGLISH])
def test_both_texts_read_back_as_they_were_written(rendered: RenderedEmail) -> None:
    _reads_back(rendered)


@pytest.mark.parametrize("model", TEMPLATE_OF)
@pytest.mark.parametrize("locale", ["zh-Hans", "zh-Hant", "en"])
def test_every_template_in_every_language_reads_back(model: type, locale: str) -> None:
    contact = CONTACT.model_copy(update={"locale": locale})
    _reads_back(render(fact_of(model.__name__).event(), contact))


def _reads_back(rendered: RenderedEmail) -> None:
    message = read_back(build_mail(fact_of(), rendered, RECIPIENT, LETTERHEAD).content)
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert html.get_content_type() == "text/html"
    assert plain.get_content() == rendered.text.replace("\n", "\r\n")
    assert html.get_content() == rendered.html.replace("\n", "\r\n")
    assert message["Subject"] == rendered.subject


def test_the_headers_say_who_writes_what_about_and_that_a_program_does() -> None:
    fact = fact_of()
    message = read_back(build_mail(fact, RENDERED, RECIPIENT, LETTERHEAD).content)
    assert message["From"] == "旅行卡 Plans <plans@shop.example.com>"
    assert message["To"] == RECIPIENT
    assert message["Reply-To"] == "help@shop.example.com"
    assert message["Message-ID"] == f"<{fact.key}@mail.example.com>"
    assert message["Date"].datetime == fact.occurred_at.replace(microsecond=0)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "zh-Hans"
    assert message["MIME-Version"] == "1.0"
    assert len(set(message.keys())) == len(message.keys())
    assert message.defects == []


@pytest.mark.parametrize("rendered", [RENDERED, ENGLISH])
def test_every_server_can_carry_the_bytes(rendered: RenderedEmail) -> None:
    content = build_mail(fact_of(), rendered, RECIPIENT, LETTERHEAD).content
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


@pytest.mark.parametrize(
    "subject",
    [
        "Hello\r\nBcc: all@example.org",
        "Hello\nBcc: all@example.org",
        "Hello\rBcc: all@example.org",
        "=?utf-8?q?Hello=0D=0ABcc=3A_all=40example=2Eorg?=",
    ],
)
def test_a_subject_that_would_add_a_header_is_never_sent(subject: str) -> None:
    try:
        mail = build_mail(fact_of(), replace(ENGLISH, subject=subject), RECIPIENT, LETTERHEAD)
    except UnsafeMessage:
        return
    assert read_back(mail.content)["Bcc"] is None
    assert b"\nBcc" not in mail.content


@pytest.mark.parametrize("recipient", ["lin@example.org\r\nBcc: x@example.org", "not an address"])
def test_a_recipient_that_is_no_address_is_never_written(recipient: str) -> None:
    with pytest.raises(UnsafeMessage):
        build_mail(fact_of(), ENGLISH, recipient, LETTERHEAD)


def head_of(letterhead: Letterhead) -> str:
    content = build_mail(fact_of(), RENDERED, RECIPIENT, letterhead).content
    return content.partition(b"\r\n\r\n")[0].decode("ascii") + "\r\n\r\n"


def is_refused(head: str, letterhead: Letterhead) -> bool:
    try:
        check_head(head, letterhead)
    except UnsafeMessage:
        return True
    return False


@pytest.mark.parametrize("letterhead", [LETTERHEAD, WITHOUT_REPLY_TO])
@given(smuggled=SMUGGLED, place=st.integers(0, 600))
def test_a_head_that_the_email_package_reads_otherwise_is_refused(
    letterhead: Letterhead, smuggled: str, place: int
) -> None:
    head = head_of(letterhead)
    assert not is_refused(head, letterhead)
    changed = head[:place] + smuggled + head[place:]
    wanted = HeaderParser(policy=SMTP).parsestr(head).keys()
    reads_otherwise = HeaderParser(policy=SMTP).parsestr(changed).keys() != wanted
    # A recipient may be written in any script, the other headers may not.
    others = re.sub(r"\r\nTo: [^\r\n]*", "", changed, count=1)
    if reads_otherwise or re.search(r"(?<!\r)\n|\r(?!\n)", changed) or not others.isascii():
        assert is_refused(changed, letterhead)


def test_a_head_for_another_letterhead_is_refused() -> None:
    assert is_refused(head_of(LETTERHEAD), WITHOUT_REPLY_TO)
    assert is_refused(head_of(WITHOUT_REPLY_TO), LETTERHEAD)


@given(recipient=ADDRESSES)
def test_a_recipient_is_written_as_the_email_package_writes_it(recipient: str) -> None:
    expected = EmailMessage(policy=SMTP.clone(max_line_length=998))
    expected["To"] = Address(addr_spec=recipient)
    content = build_mail(fact_of(), ENGLISH, recipient, LETTERHEAD).content
    assert b"\r\n" + bytes(expected).split(b"\r\n")[0] + b"\r\nSubject: " in content


@given(
    subject=st.text(max_size=150) | st.text(st.sampled_from("=?utf-8qB_ \r\né=0D=0A"), max_size=80)
)
def test_whatever_the_subject_no_header_is_added(subject: str) -> None:
    try:
        mail = build_mail(fact_of(), replace(ENGLISH, subject=subject), RECIPIENT, LETTERHEAD)
    except UnsafeMessage:
        return
    head = HeaderParser(policy=SMTP).parsestr(head_of(LETTERHEAD))
    assert read_back(mail.content).keys() == head.keys()


def test_a_bare_carriage_return_in_a_text_does_not_reach_the_wire() -> None:
    smuggled = replace(ENGLISH, text="one\r.\rtwo\n", html="<p>\n.\n</p>\n")
    content = build_mail(fact_of(), smuggled, RECIPIENT, LETTERHEAD).content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
