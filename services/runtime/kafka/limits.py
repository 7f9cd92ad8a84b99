"""How large what comes from the broker may be: one number for our topics and for all who read them."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 1_048_588
"""Of a batch as it is sent, compressed or not: `max.message.bytes` of our topics, and what brokers take
by default."""
FETCH_BYTES_MAX: Final = 16 * MESSAGE_BYTES_MAX
"""Of one answer of a broker, as sent. A batch that is larger comes alone all the same."""
