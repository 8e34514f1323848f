"""The files that browsers and apps load: the JavaScript SDK (`sdk/`) and the forms of `/api/docs` (`docs/`).

`assets.py` reads them for the REST server and imports nothing of ours.
"""
