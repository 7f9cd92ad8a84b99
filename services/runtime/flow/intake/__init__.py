"""From a fetched batch to a recorded one."""
