"""Settings from `config.toml` and the environment, and secrets.

Imports nothing else of `server`.
"""
