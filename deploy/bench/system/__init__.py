"""The whole line of three services, from request to email, beside the bare clients."""
