"""What the notifier can be configured to, and what is refused before it starts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.channels.email.counting import CountingChannel
from services.notifier.channels.email.opening import build_channel
from services.notifier.channels.email.settings import letterhead_of
from services.notifier.channels.email.texts.house import House
from services.notifier.channels.sms.opening import open_sms
from services.notifier.notification.outcomes import DeferralCause, Deferred, Delivered
from services.notifier.settings import NotifierSettings, policy_of
from services.runtime.errors import ConfigurationError
from services.runtime.settings import load_settings
from tests.unit.notifier.builders import NOW
from tests.unit.notifier.mail_server import mail_server

PREFIX = "PERENNIAL_NOTIFIER_"
LEAST = {
    "POSTGRES_DSN": "postgresql://perennial_notifier@127.0.0.1/perennial",
    "BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "SMTP_HOST": "127.0.0.1",
    "FROM_ADDRESS": "plans@shop.example.com",
}
MAIL = OutgoingEmail("<1@mail.example.com>", "plans@shop.example.com", "lin@example.org", b"\r\n")


def settings(**changed: str) -> NotifierSettings:
    values = {f"{PREFIX}{name}": value for name, value in (LEAST | changed).items()}
    return load_settings(NotifierSettings, values)


async def no_mark(checkpoint: str) -> None:
    assert checkpoint == "dot_sent"


def test_the_defaults_ask_for_encryption_and_wait_for_a_day() -> None:
    least = settings()
    assert least.smtp_tls == "starttls"
    assert policy_of(least).contact_deadline == timedelta(days=1)
    assert letterhead_of(least).message_id_domain == "shop.example.com"
    assert letterhead_of(least).house == House()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SMTP_HOST": ""}, "set SMTP_HOST"),
        ({"SMTP_USERNAME": "plans"}, "SMTP_PASSWORD"),
        ({"SMTP_PASSWORD": "hunter2hunter2"}, "SMTP_USERNAME"),
        (
            {"SMTP_TLS": "none", "SMTP_USERNAME": "plans", "SMTP_PASSWORD": "hunter2hunter2"},
            "set starttls or tls",
        ),
        ({"SMTP_TLS": "none", "SMTP_CA_FILE": "ca.pem"}, "SMTP_CA_FILE needs"),
        ({"RETRY_SECONDS": "10", "RETRY_SECONDS_MAX": "5"}, "RETRY_SECONDS_MAX"),
        ({"FROM_ADDRESS": "Plans <plans@shop.example.com>"}, f"{PREFIX}FROM_ADDRESS"),
        ({"REPLY_TO": "nobody"}, f"{PREFIX}REPLY_TO"),
        ({"FROM_NAME": "Plans\r\nBcc: all@example.org"}, f"{PREFIX}FROM_NAME"),
        ({"MESSAGE_ID_DOMAIN": "mail example"}, f"{PREFIX}MESSAGE_ID_DOMAIN"),
        ({"CHANNEL": "pigeon"}, f"{PREFIX}CHANNEL"),
        ({"APP_URL": "http://app.example"}, f"{PREFIX}APP_URL"),
        ({"APP_URL": "https://me:secret@app.example"}, f"{PREFIX}APP_URL"),
        ({"APP_URL": "https://"}, f"{PREFIX}APP_URL"),
        ({"APP_URL": 'https://app.example/"onclick'}, f"{PREFIX}APP_URL"),
        ({"APP_URL": "javascript:alert(1)"}, f"{PREFIX}APP_URL"),
        ({"SELLER_NAME": "Shop\nLtd"}, f"{PREFIX}SELLER_NAME"),
        ({"SELLER_TAX_NUMBER": "1" * 201}, f"{PREFIX}SELLER_TAX_NUMBER"),
    ],
)
def test_a_contradiction_is_refused_with_what_to_do_and_no_secret(
    changed: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        settings(**changed)
    assert told in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_file_of_authorities_that_is_none_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_text("not a certificate", encoding="ascii")
    with pytest.raises(ConfigurationError, match="SMTP_CA_FILE"):
        build_channel(settings(SMTP_CA_FILE=str(path)))


async def test_a_server_without_starttls_gets_nothing_when_encryption_is_asked_for() -> None:
    async with mail_server() as server:
        channel = build_channel(settings(SMTP_PORT=str(server.port)))
        assert await channel.send(MAIL, no_mark) == Deferred(DeferralCause.UNREACHABLE)
        await channel.close()
        assert server.texts_seen == 0


async def test_a_server_without_encryption_is_used_when_that_is_configured() -> None:
    async with mail_server() as server:
        channel = build_channel(settings(SMTP_PORT=str(server.port), SMTP_TLS="none"))
        assert await channel.send(MAIL, no_mark) == Delivered()
        await channel.close()
        assert server.texts_seen == 1


async def test_the_counting_channel_needs_no_server_and_delivers_nothing() -> None:
    with pytest.raises(ConfigurationError, match="CHANNEL=counting is for demonstrations"):
        settings(CHANNEL="counting", SMTP_HOST="")
    values = LEAST | {"CHANNEL": "counting", "SMTP_HOST": ""}
    named = {f"{PREFIX}{name}": value for name, value in values.items()}
    demo = load_settings(NotifierSettings, named | {"PERENNIAL_ENVIRONMENT": "demo"})
    channel = build_channel(demo)
    assert isinstance(channel, CountingChannel)
    assert await channel.send(MAIL, no_mark) == Delivered()
    assert channel.accepted == 1


SMS = {"SMS": "http", "SMS_URL": "https://sms.example.com/v1", "SMS_SENDER": "Shop"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SMS_SENDER": ""}, f"{PREFIX}SMS_SENDER"),
        ({"SMS_URL": ""}, f"{PREFIX}SMS_URL"),
        ({"SMS_URL": "http://sms.example.com"}, "set SMS_URL to an https:// address"),
        ({"SMS_URL": "https://user:hunter2hunter2@sms.example.com"}, "not in the URL"),
        ({"SMS": "sandbox"}, "SMS=sandbox"),
        ({"SMS_USERNAME": "shop"}, "SMS_PASSWORD"),
        (
            {"SMS_TOKEN": "hunter2hunter2", "SMS_USERNAME": "a", "SMS_PASSWORD": "hunter2hunter2"},
            "not both",
        ),
        ({"SMS_SENDER": "Twelve chars"}, f"{PREFIX}SMS_SENDER"),
        ({"SMS_SENDER": "Shop\r\nTo: +19005550100"}, f"{PREFIX}SMS_SENDER"),
        ({"SMS_PREFIXES": "49"}, f"{PREFIX}SMS_PREFIXES"),
        ({"SMS_SEGMENTS_MAX": "0"}, f"{PREFIX}SMS_SEGMENTS_MAX"),
        ({"REPORT_SECONDS": "10", "REPORT_SECONDS_MAX": "5"}, "REPORT_SECONDS_MAX"),
    ],
)
def test_an_sms_channel_that_cannot_be_meant_is_refused(changed: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        settings(**(SMS | changed))
    assert told in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("absent", ["SMS_SENDER", "SMS_URL"])
def test_what_an_sms_channel_needs_is_asked_for(absent: str) -> None:
    with pytest.raises(ConfigurationError, match=f"set {absent} to"):
        settings(**{name: value for name, value in SMS.items() if name != absent})


@pytest.mark.parametrize("sender", ["Shop", "Shop 24", "+4915112345678", "12345"])
def test_a_sender_is_a_name_a_number_or_a_short_code(sender: str) -> None:
    assert settings(**(SMS | {"SMS_SENDER": sender})).sms_sender == sender


async def test_sms_is_off_unless_it_is_set() -> None:
    assert open_sms(settings(), lambda: NOW) is None
    opened = open_sms(settings(**SMS, SMS_PREFIXES="+49, +852"), lambda: NOW)
    assert opened is not None
    assert opened.limits.of("payment_failed").burst == 3
    await opened.sender.close()
