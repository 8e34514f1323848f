"""The files that browsers and apps load, by directory, and `assets.py`, which reads them for the REST server.

`sdk` is the JavaScript SDK, `elements` the web components, `docs` the forms of `/api/docs`, `vendor` modules of others.
`assets.py` imports nothing of ours.
"""
