"""What aiokafka does not do, or not as we need it: each says what it waits for."""
