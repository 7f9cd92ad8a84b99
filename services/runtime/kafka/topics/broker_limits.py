"""The settings of the broker itself that we rely on, and cannot set: who runs it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

TRANSACTION_MS_MAX: Final = 60_000
"""Nobody behind an open transaction is read for so long."""
_SETTING: Final = "transaction.max.timeout.ms"


async def broker_problems(admin: AIOKafkaAdminClient) -> list[str]:
    """Return what the broker should have set otherwise, a sentence each."""
    brokers = (await admin.describe_cluster())["brokers"]
    answers = await admin.describe_configs(
        [
            ConfigResource(ConfigResourceType.BROKER, str(each["node_id"]), {_SETTING: None})
            for each in brokers
        ]
    )
    resources = [each for answer in answers for each in answer.to_object()["resources"]]
    # Brokers are set alike: what is wrong with all of them is said once.
    return list(dict.fromkeys(said for each in resources for said in setting_problems(each)))


def setting_problems(found: dict[str, Any]) -> list[str]:
    """Judge what one broker said of itself."""
    if code := found["error_code"]:
        message = (
            f"this Kafka user may not see {_SETTING} of the broker ({for_code(code).__name__}): "
            "run `perennial setup` as an administrator"
        )
        return [message]
    values = {each["config_names"]: each["config_value"] for each in found["config_entries"]}
    if int(values[_SETTING]) <= TRANSACTION_MS_MAX:
        return []
    message = (
        f"the broker has {_SETTING} {values[_SETTING]}: a transaction that is left open holds up its "
        f"partitions for so long; set it to {TRANSACTION_MS_MAX} at most"
    )
    return [message]
