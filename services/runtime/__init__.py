"""What every process needs to consume, record, publish and act once. Knows nothing about billing."""
