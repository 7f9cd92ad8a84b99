"""SMS: its texts, its segments, and how it reaches an aggregator."""
