"""The effect that asks the aggregator whether an SMS arrived, until it says so or time is up."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter

from schemas.requests import Channel
from services.notifier.channels.definition import ChannelPorts
from services.notifier.notification.commands import RecordReport
from services.notifier.notification.evolution import NotificationState, Sent
from services.notifier.notification.policy import Policy
from services.notifier.notification.reports import AwaitedReport, report_effect, report_kind
from services.runtime.effect import EffectRun
from services.runtime.effect_definition import EffectDefinition, Restored, payload_of
from services.runtime.processor import Mark


async def _execute(
    ports: ChannelPorts, report: AwaitedReport, run: EffectRun, _mark: Mark
) -> RecordReport:
    found = await ports.sender.report(report.message_id)
    return RecordReport(report, found, run.attempt, ports.clock())


def _restore(past: NotificationState) -> Restored:
    """Ask anew about what was sent, and has no report yet in the log that was taken back."""
    if not isinstance(past, Sent):
        return Restored(drop_others=True)
    return Restored((report_effect(past.event, Policy()),), drop_others=True)


SMS_REPORT: Final[EffectDefinition[AwaitedReport, ChannelPorts, NotificationState]] = (
    EffectDefinition(
        kind=report_kind(Channel.SMS),
        called="a report",
        read=payload_of(TypeAdapter(AwaitedReport)),
        execute=_execute,
        outcomes=(),
        restore=_restore,
    )
)
