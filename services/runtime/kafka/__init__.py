"""Everything that is particular to Kafka: clients, records, topics."""
