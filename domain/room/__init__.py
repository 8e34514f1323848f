"""What calls and streams share: inputs and effects, members, deadlines, chat, tips, signalling and termination.

Imports `domain.billing`, `domain.protocol` and the modules of `domain`.
"""
