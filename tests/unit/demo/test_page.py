"""The demo's page: nothing from the network, nothing unescaped, nothing hidden."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from deploy.demo.expected.comparison import Comparison
from deploy.demo.report.page import page
from deploy.demo.result import DemoCheck, DemoResult
from tests.unit.demo.page_reader import EMAIL, a_mail, a_result, everything_hostile, read


@pytest.mark.parametrize("result", [a_result(), DemoResult(), everything_hostile()])
def test_every_tag_that_is_opened_is_closed(result: DemoResult) -> None:
    reader = read(result)

    assert reader.mismatched == []
    assert reader.open == []


def test_page_names_nothing_on_the_network() -> None:
    text = page(a_result())
    reader = read(a_result())

    assert re.findall(r"https?:|(?<![:\w])//\w|@import|url\(", text) == []
    assert not {"script", "link", "img", "base", "object", "embed"} & {
        tag for tag, _ in reader.elements
    }
    addresses = [
        value
        for _, attributes in reader.elements
        for name, value in attributes.items()
        if name in {"src", "href", "action", "data", "xlink:href"}
    ]
    assert addresses
    assert all(address is not None and address.startswith("#") for address in addresses)


def test_policy_of_the_page_forbids_the_network() -> None:
    [policy] = [
        meta["content"]
        for meta in read(a_result()).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]

    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_links_lead_to_places_on_the_page() -> None:
    reader = read(a_result())
    identifiers = [found["id"] for _, found in reader.elements if "id" in found]

    assert len(identifiers) == len(set(identifiers))
    assert {f"#{name}" for name in identifiers} >= {link["href"] for link in reader.all("a")}


def test_nothing_that_came_from_outside_becomes_markup() -> None:
    result = everything_hostile()
    reader = read(result)

    assert "<script" not in page(result)
    assert reader.all("script") == []
    assert result.mails[0].subject in reader.text


def test_email_is_shown_as_it_is_in_a_sandbox_without_any_permission() -> None:
    frames = read(a_result()).all("iframe")

    assert len(frames) == 3
    assert [frame["sandbox"] for frame in frames] == ["", "", ""]
    assert all(frame["srcdoc"] == EMAIL for frame in frames)
    assert all("src" not in frame for frame in frames)


def test_email_has_its_subject_language_template_and_text() -> None:
    subject = '<script>alert("1")</script>'
    result = replace(a_result(), mails=[a_mail(locale="zh-Hant", subject=subject)])
    reader = read(result)

    assert f'<h4 lang="zh-Hant">{html.escape(subject, quote=False)}' in page(result).replace(
        "&#34;", '"'
    )
    for shown in (subject, "Traditional Chinese", "renewal_confirmed", "Hello Ada"):
        assert shown in reader.text


def test_run_in_which_all_agrees_says_so() -> None:
    text = read(a_result()).text

    assert "Everything agrees" in text
    assert "6 of 6" in text
    assert "differ" not in text.replace("none differs", "")


def test_every_difference_is_named_in_the_verdict() -> None:
    result = a_result()
    result.comparisons[1] = replace(result.comparisons[1], seen=471)
    result.checks.append(DemoCheck("wallets", ok=False, compared="3 of 500 wallets"))
    result.balances["JPY"]["Assets:Gateway:Alipay"] += 7
    text = read(result).text

    assert "3 things differ" in text
    assert "Everything agrees" not in text
    assert len(result.differences) == 3
    for difference in result.differences:
        assert difference in text


def test_difference_is_told_by_words_beside_its_number() -> None:
    result = a_result()
    result.comparisons[1] = replace(result.comparisons[1], seen=471)
    text = read(result).text

    assert "paypal 473 471 ≠ differs" in text
    assert "1 of 3 differ" in text
    assert "≠ 1,065, expected 1,067" in text


def test_details_that_cancel_out_still_differ_in_the_chart() -> None:
    result = a_result()
    result.comparisons[0] = replace(result.comparisons[0], seen=595)
    result.comparisons[1] = replace(result.comparisons[1], seen=472)

    assert "≠ 1,067, details differ" in read(result).text


def test_many_differences_are_all_on_the_page() -> None:
    comparisons = [Comparison("wallets", f"acct-{n}", "paid", n, n + 1) for n in range(120)]
    result = replace(a_result(), comparisons=comparisons)
    text = read(result).text

    assert "100 more" in text
    assert all(difference in text for difference in result.differences)


def test_run_that_compared_nothing_is_not_called_good() -> None:
    text = read(DemoResult()).text

    assert "Nothing was compared" in text
    assert "Everything agrees" not in text


def test_trial_balance_is_in_units_of_each_currency() -> None:
    text = read(a_result()).text

    assert "Assets: Gateway: Card 1,233.95" in text
    assert "Expenses: GatewayFees 0.05" in text
    assert "Total 1,234.00 1,234.00" in text
    assert "Debits less credits 0.00" in text
    assert "Total 1,500 1,500" in text
    assert "Total 1.005 1.005" in text


def test_amount_that_no_binary_fraction_holds_is_exact() -> None:
    balances = {"USD": {"Assets:Bank": 10**17 + 1, "Liabilities:Wallet:Paid": -(10**17) - 1}}
    text = read(replace(a_result(), balances=balances)).text

    assert "Total 1,000,000,000,000,000.01 1,000,000,000,000,000.01" in text


def test_trial_balance_out_of_balance_shows_by_how_much() -> None:
    balances = {"USD": {"Assets:Bank": 1_000, "Liabilities:Wallet:Paid": -1_250}}
    text = read(replace(a_result(), balances=balances)).text

    assert "≠ sums to -2.50, must be zero" in text
    assert "Debits less credits -2.50 ≠ 0" in text


def test_account_that_the_manifest_expects_otherwise_is_marked() -> None:
    result = replace(
        a_result(),
        balances={"USD": {"Assets:Bank": 1_000, "Liabilities:Wallet:Paid": -1_000}},
        comparisons=[
            Comparison("trial balance", "USD", "Assets:Bank", 1_000, 1_000),
            Comparison("trial balance", "USD", "Liabilities:Wallet:Paid", -900, -1_000),
            Comparison("trial balance", "USD", "Liabilities:Tax:US", -100, 0),
        ],
    )
    text = read(result).text

    assert "Liabilities: Wallet: Paid ≠ the manifest expects 9.00 Cr 10.00" in text
    assert "Liabilities: Tax: US ≠ the manifest expects 1.00 Cr 0.00" in text
    assert "Assets: Bank ✓ agrees 10.00" in text


def test_currency_without_any_balance_is_shown_as_expected() -> None:
    comparisons = [Comparison("trial balance", "HKD", "Assets:Bank", 250, 0)]
    text = read(DemoResult(comparisons=comparisons)).text

    assert "HKD ✓ sums to 0.00" in text
    assert "the manifest expects 2.50 Dr" in text


def test_wallet_that_differs_is_in_units_of_its_currency() -> None:
    result = a_result()
    result.comparisons[-1] = Comparison("wallets", "acct-17 paid", "USD", 1_200, 950)

    assert "acct-17 paid USD 12.00 9.50 ≠ differs" in read(result).text


def test_every_chart_and_frame_has_words_for_who_cannot_see_it() -> None:
    reader = read(a_result())

    charts = reader.all("svg")
    assert charts
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "Payment captured 1,067" in (charts[0]["aria-label"] or "")
    assert all(frame["title"] for frame in reader.all("iframe"))
    assert all(header.get("scope") in {"col", "row", "rowgroup"} for header in reader.all("th"))


def test_headings_leave_no_level_out() -> None:
    levels = [int(tag[1]) for tag, _ in read(a_result()).elements if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_renewal_is_told_moment_by_moment_across_the_services() -> None:
    reader = read(a_result())

    assert "0 ms orders Renewal accepted" in reader.text
    assert "120 ms ledger Deferred revenue recorded 31.80 USD" in reader.text
    assert "1,200 ms notifier Notification sent" in reader.text


def test_summary_holds_the_numbers_of_the_run() -> None:
    text = read(a_result()).text

    for shown in ("2,571", "500", "1 min 5 s", "812", "2,281", "5f" * 32, "9,876", "490 MiB"):
        assert shown in text
