"""Metrics, logs, redaction, contained faults, and the limits of this process: memory and open files.

Imports `server.config`.
"""
