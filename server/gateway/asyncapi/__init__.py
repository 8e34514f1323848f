"""The AsyncAPI document, generated from the structs that are sent and received.

Imports `server.gateway`.
"""
