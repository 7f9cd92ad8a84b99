"""The oracle: what is sent, as rows of data, and what billing must come to because of it.

It shares no code with the services. It reads their catalogue and prices by its own arithmetic.
"""
