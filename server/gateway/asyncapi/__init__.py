"""The AsyncAPI document, generated from the structs that are sent and read.

Imports `server.gateway`.
"""
