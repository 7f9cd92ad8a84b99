"""Records as bytes: CloudEvents, JSON, sizes, partitions."""
