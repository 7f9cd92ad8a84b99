"""The three services, the runtime they share and the command line that looks at them."""
