"""What waits for a room: its inputs in order of arrival, and the timers that wake it.

Imports `server.observability` and the clock.
"""
