"""The guarantees that the Kafka clients are built with, read from the objects themselves."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiokafka.record
import pytest
from aiokafka.structs import TopicPartition
from faststream import AckPolicy
from pydantic import SecretStr

from services.runtime.errors import ConfigurationError
from services.runtime.kafka.client import (
    Assignment,
    BatchConsumer,
    assert_complete_client,
    build_producer,
    client_options,
    security,
)
from services.runtime.settings import RuntimeSettings


def settings(**values: Any) -> RuntimeSettings:
    return RuntimeSettings(
        postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1/none"),
        bootstrap_servers="127.0.0.1:1,127.0.0.1:2",
        **values,
    )


def consumer(**values: Any) -> BatchConsumer:
    return BatchConsumer(
        settings=settings(**values),
        topics=["one", "two"],
        group="toys",
        assignment=Assignment(),
    )


def subscriber_of(built: BatchConsumer) -> Any:
    return built._broker.subscribers[0]  # noqa: SLF001 - what FastStream made of our options


def test_offset_is_committed_only_after_success_and_a_failed_batch_comes_back() -> None:
    assert consumer().ack_policy is AckPolicy.NACK_ON_ERROR
    assert subscriber_of(consumer()).ack_policy is AckPolicy.NACK_ON_ERROR


def test_reply_to_header_sends_nothing_anywhere() -> None:
    assert subscriber_of(consumer())._no_reply is True  # noqa: SLF001 - as above


def test_consumer_begins_at_the_earliest_record_and_commits_nothing_by_itself() -> None:
    options = subscriber_of(consumer())._connection_args  # noqa: SLF001 - as above
    assert options["auto_offset_reset"] == "earliest"
    assert not options.get("enable_auto_commit")


def test_there_is_one_subscriber_that_takes_batches_of_the_configured_size() -> None:
    built = consumer(batch_records_max=77)
    assert len(built._broker.subscribers) == 1  # noqa: SLF001 - as above
    assert subscriber_of(built).max_records == 77


def test_subscriber_waits_for_records_and_never_polls() -> None:
    # FastStream is deaf for as long again after an answer without records.
    assert subscriber_of(consumer()).batch_timeout_ms >= 30 * 24 * 3600 * 1000


def test_heartbeats_fit_into_the_session_several_times() -> None:
    options = subscriber_of(consumer(kafka_session_timeout_ms=6_000))._connection_args  # noqa: SLF001
    assert options["session_timeout_ms"] == 6_000
    assert options["heartbeat_interval_ms"] * 3 <= options["session_timeout_ms"]


async def test_producer_waits_for_all_replicas_and_is_idempotent() -> None:
    producer = build_producer(settings())
    try:
        assert producer._sender._acks == -1  # noqa: SLF001 - -1 is `all` on the wire
        assert producer._txn_manager is not None  # noqa: SLF001 - carries the producer id
        assert producer._txn_manager.transactional_id is None  # noqa: SLF001 - as above
    finally:
        await producer.stop()


async def test_assignment_follows_what_is_given_and_taken() -> None:
    assignment = Assignment()
    await assignment.on_partitions_assigned([TopicPartition("one", 1), TopicPartition("two", 2)])
    assert assignment.shards() == {1, 2}
    assert assignment.changed.is_set()
    await assignment.on_partitions_revoked([TopicPartition("one", 1)])
    assert assignment.partitions == {("two", 2)}


def test_fast_record_parser_is_there() -> None:
    assert_complete_client()


def test_missing_record_parser_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiokafka.record._crecords", None)
    monkeypatch.delattr(aiokafka.record, "_crecords")
    with pytest.raises(ConfigurationError, match="wheel of this platform"):
        assert_complete_client()


def test_no_security_is_asked_for_by_default() -> None:
    assert security(settings()) is None
    assert client_options(settings())["ssl_context"] is None


def test_tls_verifies_the_broker() -> None:
    made = security(settings(kafka_security_protocol="SSL"))
    assert made is not None
    assert made.use_ssl
    context = client_options(settings(kafka_security_protocol="SSL"))["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_credentials_go_over_tls_when_the_protocol_says_so(mechanism: str) -> None:
    made = security(
        settings(
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism=mechanism,
            kafka_username="toys",
            kafka_password=SecretStr("secret"),
        )
    )
    assert made is not None
    assert made.use_ssl
    assert made.ssl_context is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kafka_security_protocol": "SASL_SSL"},
        {"kafka_sasl_mechanism": "PLAIN"},
        {"kafka_security_protocol": "SSL", "kafka_sasl_mechanism": "PLAIN"},
        {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"},
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": "toys",
        },
    ],
)
def test_half_of_the_credentials_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_"):
        security(settings(**wrong))


def test_own_authority_is_read_from_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_CA_FILE cannot be used"):
        client_options(settings(kafka_security_protocol="SSL", kafka_ca_file=tmp_path / "ca.pem"))
