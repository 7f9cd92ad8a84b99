"""One stripe-mock and one localstripe for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateways.servers import running_localstripe, running_stripe_mock


@pytest.fixture(scope="session")
def stripe_mock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of Stripe's mock."""
    with running_stripe_mock(tmp_path_factory.mktemp("stripe-mock")) as url:
        yield url


@pytest.fixture(scope="session")
def localstripe_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of localstripe."""
    with running_localstripe(tmp_path_factory.mktemp("localstripe")) as url:
        yield url
