"""Each word, sign and number that decides whether a stranger's name or id is shown."""

from __future__ import annotations

import pytest

from services.notifier.wording.greeting import greeting_name, holds_link, one_line, shown_id

CALLS = """
    account bank bonus call claim click code confirm free gift here http https install invoice login
    now password pay prize refund unlock urgent verify visit win winner won you helpdesk notice
    security service support warning your clic cuenta gratis haga haz llama llame premio urgente
    appelez cliquez compte gratuit konto kostenlos votre
    ваш ваша выигрыш заблокирован нам перейдите позвоните срочно приз счет счёт бесплатно
"""
PARTICLES = """
    af al am an auf av ben bin bint da dal das de degli dei del della den der des di dos du e el ibn
    la las le los ng of ter und van vom von y zu zum zur
"""
HAN_CALLS = "中奖 中獎 点击 點擊 客服 账户 帳戶 冻结 凍結 免费 免費 领取 領取"


@pytest.mark.parametrize("word", CALLS.split())
def test_word_of_those_who_want_something_is_no_name(word: str) -> None:
    assert greeting_name(f"Ada {word.title()}") is None
    assert greeting_name(f"{word.upper()} Ada") is None


@pytest.mark.parametrize("word", HAN_CALLS.split())
def test_han_word_of_those_who_want_something_is_no_name(word: str) -> None:
    assert greeting_name(f"林{word}") is None
    assert greeting_name(f"林{word[0]}") == f"林{word[0]}"


@pytest.mark.parametrize("word", PARTICLES.split())
def test_particle_in_small_letters_stands_in_a_name(word: str) -> None:
    assert greeting_name(f"Ada {word} Berg") == f"Ada {word} Berg"


def test_small_word_between_others_makes_a_sentence() -> None:
    assert greeting_name("Ada writes Berg") is None
    assert greeting_name("Ada Berg writes") is None
    assert greeting_name("ada Berg Marsh") == "ada Berg Marsh"
    assert greeting_name("Ada berg") == "Ada berg"


@pytest.mark.parametrize("sign", "'\u2019\"-.,&")
def test_sign_around_a_word_hides_no_call(sign: str) -> None:
    assert greeting_name(f"Ada {sign}Win{sign}") is None
    assert greeting_name(f"{sign}Ada{sign}") == f"{sign}Ada{sign}"


@pytest.mark.parametrize("sign", "'\u2019\"-\u2010.,&·・")
def test_sign_of_names_stands_in_a_name(sign: str) -> None:
    assert greeting_name(f"A{sign}B") == f"A{sign}B"


@pytest.mark.parametrize("sign", "!?:;/\\()[]{}<>@#%*+=_~|$€0\u0661½")
def test_other_sign_or_digit_does_not(sign: str) -> None:
    assert greeting_name(f"A{sign}b") is None


def test_name_has_64_characters_and_6_words_at_most() -> None:
    assert greeting_name("Ab " * 5 + "Ab") == "Ab " * 5 + "Ab"
    assert greeting_name("Ab " * 6 + "Ab") is None
    assert greeting_name("a" * 64) == "a" * 64
    assert greeting_name("a" * 65) is None


def test_letter_has_3_marks_and_a_name_2_symbols_at_most() -> None:
    assert greeting_name("A\u0301\u0302\u0303b\u0301") == "A\u0301\u0302\u0303b\u0301"
    assert greeting_name("A\u0301\u0302\u0303\u0304b") is None
    assert greeting_name("🎉 Ada 🎉") == "🎉 Ada 🎉"
    assert greeting_name("🎉 Ada 🎉🎉") is None


def test_name_has_a_letter() -> None:
    assert greeting_name("🎉") is None
    assert greeting_name("-") is None
    assert greeting_name("") is None
    assert greeting_name(None) is None


def test_han_name_has_6_characters_in_a_row_at_most() -> None:
    assert greeting_name("林小好林小好") == "林小好林小好"
    assert greeting_name("林小好林小好林") is None
    assert greeting_name("林小好·林小好林") == "林小好·林小好林"
    assert greeting_name("\u3400" * 7) is None
    assert greeting_name("\u9fff" * 7) is None
    assert greeting_name("\U00020000" * 7) is None
    assert greeting_name("\U000323af" * 7) is None


@pytest.mark.parametrize("letter", ["א", "ن"])
def test_name_from_right_to_left_is_isolated(letter: str) -> None:
    assert greeting_name(letter) == f"\u2068{letter}\u2069"
    assert greeting_name(f"Ada {letter}") == f"\u2068Ada {letter}\u2069"


@pytest.mark.parametrize(
    "name", ["Gerd. Marsh", "Gerd.", "Ada, Berta, Cora", "Ada.. Marsh", "Ada.Marsh", "Ad a.xy"]
)
def test_end_of_a_sentence_and_address_are_no_name(name: str) -> None:
    assert greeting_name(name) is None


@pytest.mark.parametrize("name", ["Ann. Marsh", "Ada, Berta", "Ada Marsh, Jr.", "A.B", "Ada.M"])
def test_abbreviation_is(name: str) -> None:
    assert greeting_name(name) == name


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("x://y", True),
        ("www.", True),
        ("WWW.9", True),
        ("ww.9", False),
        ("a@b", True),
        ("a.bc", True),
        ("9.BC", True),
        ("a.b", False),
        ("a.9b", False),
        ("a:b", True),
        ("a:9", False),
        ("9:b", False),
        ("a/b", False),
    ],
)
def test_link_is_what_clients_make_one_of(text: str, linked: bool) -> None:  # noqa: FBT001
    assert holds_link(text) is linked


def test_line_keeps_joiners_and_loses_what_is_not_seen() -> None:
    assert one_line(" a \n\tb\u2028c\u2029d\x00e ") == "a b c d e"
    assert one_line("a\u200bb\u202ec\ufeffd\ue000e\ud800f") == "abcdef"
    assert one_line("a\u200cb\u200dc") == "a\u200cb\u200dc"
    assert one_line(" a  b ") == "a b"


@pytest.mark.parametrize(
    ("order_id", "shown"),
    [
        ("evil.example", "#9c180de0cd69"),
        ("WWW1", "#3f5a496ac3eb"),
        ("a:b", "#6783a31eabf6"),
        ("open-door-wide-shut", "#104b56d3415f"),
    ],
)
def test_id_that_speaks_is_shown_as_the_start_of_its_hash(order_id: str, shown: str) -> None:
    assert shown_id(order_id) == shown


@pytest.mark.parametrize(
    "order_id",
    ["open-door-open-ord-123", "feed-dead-beef-cafe-FADE", "open-DOOR-open-abc-xyz", "1.2", "a:1"],
)
def test_id_of_three_words_and_of_hexadecimal_ones_is_shown(order_id: str) -> None:
    assert shown_id(order_id) == order_id
