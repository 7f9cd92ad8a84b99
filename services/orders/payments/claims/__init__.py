"""Which order a gateway's transaction serves: one in the whole system."""
