"""What a benchmark found, how much it measures, and how that is shown."""
