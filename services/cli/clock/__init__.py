"""The clock of the services: what it says, and moving a virtual one on."""
