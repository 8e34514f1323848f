"""The files that browsers and apps load, by directory, and `assets.py`, which reads them for the REST server.

`sdk` is the JavaScript SDK, `elements` the web components, `docs` the forms of `/api/docs`, `overlay` the page of tips
over a video, `vendor` modules of others.
`assets.py` imports nothing of ours. `rest_functions.py` is a program that writes the SDK's REST functions and types
from both API documents, of which `typescript.py` translates the schemas.
"""
