"""The event log, replay, MACs and the intakes of one service, each beside its reference."""
