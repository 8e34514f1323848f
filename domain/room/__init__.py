"""The rules that calls and streams share.

Holds inputs and effects, members, presence, deadlines, chat and tips, signalling, overlays and termination.
Imports `domain.billing`, `domain.protocol` and the modules of `domain`.
"""
