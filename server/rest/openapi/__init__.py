"""The OpenAPI document, generated from the table of routes, and the page that shows both documents.

Imports `server.rest`.
"""
