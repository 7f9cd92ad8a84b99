"""Bugs put into the code one at a time (`make mutants`): which of them do the unit tests miss."""
