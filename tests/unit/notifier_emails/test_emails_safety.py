"""Nothing that a customer or an upstream wrote becomes markup, a header or a link."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.orders import (
    ActivationDelayed,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import RenewalRequested
from services.notifier.channels.email.texts import render
from services.notifier.wording.greeting import (
    NAME_CHARACTERS_MAX,
    NAME_WORDS_MAX,
    greeting_name,
    shown_id,
)
from tests.unit.notifier_emails.facts import (
    EVERY_CASE,
    EVERY_FACT,
    LOCALES,
    case_id,
    contact,
    fact,
)

_VOID: Final = {"meta", "br"}
_ALLOWED: Final = {
    *("html", "head", "meta", "title", "style", "body", "div", "table", "tr", "th", "td"),
    *("h1", "h2", "p"),
}
_REMOTE: Final = {"src", "href", "srcset", "background", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """Reads an email's HTML as a mail client does: the tags, the attributes and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def attributes_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def pay_links(event: Event) -> list[str]:
    """Return the only address that an email without a house may hold: the page of the gateway."""
    return [event.pay_link] if isinstance(event, PaymentActionRequired) else []


def allowed(event: Event) -> set[str]:
    return {*_ALLOWED, *("a" for _ in pay_links(event))}


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_html_loads_nothing_links_nowhere_and_runs_nothing(event: Event, locale: str) -> None:
    html = render(event, contact(locale)).html
    page = Page(html)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == pay_links(event)
    for link in links:
        html = html.replace(f'href="{link}"', "")
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= allowed(event)
    assert not [attributes for _, attributes in page.tags if _REMOTE & set(attributes)]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for fragment in ("http", "//", "url(", "@import", "@font-face"):
        assert fragment not in html.lower()


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_html_is_laid_out_for_mail_clients(event: Event, locale: str) -> None:
    email = render(event, contact(locale))
    page = Page(email.html)
    assert page.open == []
    assert page.attributes_of("html") == [{"lang": locale, "dir": "ltr"}]
    assert {"name": "color-scheme", "content": "light dark"} in page.attributes_of("meta")
    assert len([each for each in page.attributes_of("table") if "role" not in each]) == 1
    assert {each["scope"] for each in page.attributes_of("th")} == {"row"}
    assert "max-width:600px" in email.html
    assert all("style" in each for each in page.attributes_of("td"))
    assert len(email.html.encode()) < 20_000
    assert max(len(line.encode()) for line in email.html.splitlines()) < 998


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_html_and_text_say_the_same(event: Event, locale: str) -> None:
    email = render(event, contact(locale))
    # A joiner keeps two characters on one line and shows nothing.
    shown = "".join(Page(email.html).text.replace("\u2060", "").split())
    for line in email.text.splitlines():
        if line in pay_links(event):
            continue
        for part in line.strip("- ").removesuffix(":").replace("：", ": ").split(": "):
            assert "".join(part.split()) in shown


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_preheader_is_the_first_thing_in_the_body_and_hidden(event: Event, locale: str) -> None:
    page = Page(render(event, contact(locale)).html)
    after_body = [tag for tag, _ in page.tags].index("body") + 1
    tag, attributes = page.tags[after_body]
    assert tag == "div"
    assert str(attributes["style"]).startswith("display:none;")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ('Finn "Ace" O\'Dell', "Finn &#34;Ace&#34; O&#39;Dell"),
        ("Zoë 🎉 Quist", "Zoë 🎉 Quist"),
        ("👩‍💻 Noor", "👩‍💻 Noor"),
        ("Tom & Jerry", "Tom &amp; Jerry"),
        ("نور حداد", "\u2068نور حداد\u2069"),
    ],
)
@pytest.mark.parametrize("locale", LOCALES)
def test_name_is_shown_as_written_and_never_as_markup(name: str, escaped: str, locale: str) -> None:
    for event in EVERY_FACT:
        email = render(event, contact(locale, name=name))
        assert escaped in email.html
        assert name in email.text
        assert name not in email.subject
        assert {tag for tag, _ in Page(email.html).tags} <= allowed(event)


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("Ada\r\nBcc: all@example", "Hello,"),
        ("Ada\r\n Marsh\u2028", "Hello Ada Marsh,"),
        ("\u202eAda\u2066 Marsh\u200f", "Hello Ada Marsh,"),
        ("Ada\x00\x1b[31m", "Hello,"),
        ("<script>alert(1)</script>", "Hello,"),
        ("<b onclick='x'>", "Hello,"),
        ("{{ 7 * 7 }} {greeting}", "Hello,"),
        ("You have won. Call 0800 123 4567", "Hello,"),
        ("You won a prize", "Hello,"),
        ("Ada. Your account is locked", "Hello,"),
        ("your bank needs help", "Hello,"),
        ("please write to somebody else", "Hello,"),
        ("恭喜你中奖了请加微信", "Hello,"),
        ("🎉🎉🎉 Ada", "Hello,"),
        ("A" + "\u0301" * 9, "Hello,"),
        ("One Two Three Four Five Six Seven", "Hello,"),
        ("evil:example", "Hello,"),
        ("Maria da Conceição dos Santos", "Hello Maria da Conceição dos Santos,"),
        ("ada marsh", "Hello ada marsh,"),
        ("Dr. Ada Marsh, Jr.", "Hello Dr. Ada Marsh, Jr.,"),
        ("亚历山大·普希金", "Hello 亚历山大·普希金,"),
        ("欧阳娜娜", "Hello 欧阳娜娜,"),
        ("Win a prize at evil.example now", "Hello,"),
        ("see HTTPS://x", "Hello,"),
        ("www.x", "Hello,"),
        ("J.R.R. Marsh", "Hello J.R.R. Marsh,"),
        ("a" * 65, "Hello,"),
        ("a" * 64, f"Hello {'a' * 64},"),
        ("", "Hello,"),
        (" \t\u200b", "Hello,"),
        ("!!!", "Hello,"),
    ],
)
def test_name_that_is_no_name_is_cleaned_or_left_out(name: str, greeting: str) -> None:
    email = render(EVERY_FACT[0], contact(name=name))
    assert email.text.splitlines()[0] == greeting


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_subject_is_one_short_line_without_the_name(event: Event, locale: str) -> None:
    name = "plan renewal Ada\r\nX-Injected: 1"
    subject = render(event, contact(locale, name=name)).subject
    assert "Ada" not in subject
    assert subject.isprintable()
    assert 0 < len(subject) <= 130


@pytest.mark.parametrize("model", [PlanActivated, ActivationDelayed])
def test_plan_title_cannot_break_the_subject_or_the_page(model: type[Event]) -> None:
    title = "Japan\r\nBcc: all <b>30 GB</b> " + "x" * 150
    email = render(fact(model, plan_title={"en": title}), contact())
    assert email.subject.isprintable()
    assert len(email.subject) <= 130
    assert email.subject.endswith("…")
    assert "<b>" not in email.html
    assert "&lt;b&gt;30 GB&lt;/b&gt;" in email.html


@pytest.mark.parametrize("length", [1, 71, 72, 73, 150])
def test_subject_holds_72_characters_of_a_plan(length: int) -> None:
    title = "".join(chr(ord("a") + n % 26) for n in range(length))
    subject = render(fact(PlanActivated, plan_title={"en": title}), contact()).subject
    assert subject.split()[-1] == (title if length <= 72 else f"{title[:71]}…")


_ANY_TEXT = st.text(max_size=80) | st.text(
    st.sampled_from("abcXYZ019 .,:;!?/@-_'www林小好\u200b\u202e🎉\u0301"), max_size=60
)
_PROBES = (
    r"https?:|www\.|@|[^\W\d_]\.[^\W\d_]{2,}|[!?。！？;；]"
    r"|[\u202a-\u202e\u2066\u2067\u200b]|[^\W\d_]{4,}\.\s"
)


@given(
    name=_ANY_TEXT
    | st.builds("{}.{}".format, _ANY_TEXT, st.sampled_from(["com", "example", "xyz"]))
    | st.builds("{}. {}".format, _ANY_TEXT, _ANY_TEXT)
)
def test_no_name_that_is_greeted_reads_like_a_link_or_a_sentence(name: str) -> None:
    greeted = greeting_name(name)
    if greeted is not None:
        assert not re.search(_PROBES, greeted), greeted
        assert len(greeted.split()) <= NAME_WORDS_MAX
        assert len(greeted) <= NAME_CHARACTERS_MAX + 2


@pytest.mark.parametrize(
    "name",
    [
        *["Amazon Support", "Urgente llame", "Haz clic", "中奖了", "ВЫИГРЫШ Позвоните Нам"],
        "Перейдите Ваш Счёт Заблокирован Срочно",
    ],
)
def test_call_in_another_language_is_no_name(name: str) -> None:
    assert greeting_name(name) is None


@pytest.mark.parametrize("name", ["Мария Ивановна Петрова", "Nam Nguyen", "林小好", "José Llamas"])
def test_name_in_another_language_is_greeted(name: str) -> None:
    assert greeting_name(name) == name


@given(order_id=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z"))
@example("evil.example.com")
@example("www.x")
@example("https:evil.example")
@example("Click-here-to-claim-your-prize-at-evil")
@example("You.have.won")
def test_no_id_that_upstream_chose_becomes_a_link_or_speaks(order_id: str) -> None:
    facts = (
        fact(PlanActivated, renewal_id=order_id),
        fact(ActivationDelayed, renewal_id=order_id, plan_title={"en": "see evil.example"}),
        fact(RefundCompleted, renewal_id=order_id),
        fact(WalletToppedUp, topup_id=order_id),
        fact(PaymentFailed, renewal_id=None, topup_id=order_id),
    )
    shown = shown_id(order_id)
    assert not re.search(r"[^\W\d_]\.[^\W\d_]{2,}|www|[A-Za-z]:[A-Za-z]", shown)
    assert "evil" not in shown
    for each in facts:
        email = render(each, contact(name=None))
        assert "evil" not in f"{email.subject}\n{email.text}"
        assert not re.search(r"[^\W\d_]\.[^\W\d_]{2,}|www", f"{email.subject}\n{email.text}")


@pytest.mark.parametrize(
    "order_id", ["rnw-2026-000317", "5f3cabde-feed-4bad-8ace-0123456789ab", "ord_88", "A.1.2"]
)
def test_ids_as_upstreams_make_them_are_shown_as_they_are(order_id: str) -> None:
    assert shown_id(order_id) == order_id


def test_event_that_no_email_is_about_is_refused() -> None:
    with pytest.raises(TypeError, match="RenewalRequested"):
        render(fact(RenewalRequested), contact())


@pytest.mark.parametrize("event", EVERY_FACT, ids=case_id)
def test_english_text_fits_a_terminal(event: Event) -> None:
    assert max(map(len, render(event, contact()).text.splitlines())) < 78


@pytest.mark.parametrize(
    "tail",
    ['"><script>alert(1)</script>', "'onclick='x", "&amp;<b>", "{amount}{{7*7}}", "?a=1&b=<2>"],
)
def test_address_of_the_gateway_cannot_leave_its_link(tail: str) -> None:
    link = f"https://pay.example/{tail}"
    event = fact(PaymentActionRequired, pay_link=link)
    email = render(event, contact())
    page = Page(email.html)
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == [link]
    assert {tag for tag, _ in page.tags} <= allowed(event)
    assert f"\n{link}\n" in email.text


@pytest.mark.parametrize(
    "link", ["http://pay.example/x", "javascript:alert(1)", "https://a b", "https://pay.example/\n"]
)
def test_link_that_is_none_is_no_fact(link: str) -> None:
    with pytest.raises(ValidationError):
        fact(PaymentActionRequired, pay_link=link)
