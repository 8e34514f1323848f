"""The inputs that wait for a room, in order of arrival, and the timers that wake it.

Imports `server.observability` and the clock.
"""
