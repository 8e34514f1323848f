"""The rules of halfminute as plain functions and classes: they never wait, read a clock, log or draw random numbers.

Times, ids and database rows are passed in; decisions are returned as values.
Imports the standard library and msgspec only.
Inside, packages import downwards: call and stream, room, billing, protocol, and the modules here.
"""
