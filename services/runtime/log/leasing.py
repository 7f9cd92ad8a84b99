"""A leased effect, made of what was started and of the row that the worker leased."""

from __future__ import annotations

from services.runtime.effect import EffectRun, Start
from services.runtime.log.event_log import EffectOrigin, LeasedEffect


def leased_effect(
    origin: EffectOrigin,
    start: Start,
    *,
    attempt: int = 1,
    recovered: bool = False,
    checkpoint: str | None = None,
) -> LeasedEffect:
    """Return what a worker needs to run the effect and to record its result."""
    run = EffectRun(
        shard=origin.shard,
        effect_id=start.effect_id,
        kind=start.kind,
        account_id=origin.account_id,
        stream_id=origin.stream_id,
        payload=start.payload,
        attempt=attempt,
        recovered=recovered,
        checkpoint=checkpoint,
    )
    return LeasedEffect(run, origin)
