"""The HTML page of the demo: what is on it, its charts and its layout."""
