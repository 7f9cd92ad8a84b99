"""Payment gateways: the port in `gateway`, one implementation per file."""
