"""The rules of halfminute, as plain functions: no waiting, no clock, no logging, no randomness.

Imports the standard library and msgspec only. Inside, packages import downwards: call and stream, room, billing,
protocol, and the modules here.
"""
