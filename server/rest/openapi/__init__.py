"""The OpenAPI document, generated from the table of routes, the page that shows both documents, and the quick start.

Imports `server.rest`.
"""
