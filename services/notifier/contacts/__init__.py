"""How customers can be reached: kept apart from the log, and erased."""
