"""What is counted, and what each metric says."""
