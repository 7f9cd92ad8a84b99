"""The demo's input and what must come of it, computed without any code of the services.

`requests.jsonl` and `manifest.json` are made by `python -m deploy.demo.generate`.
"""
