"""The rules of halfminute: no waiting, no clock, no logging, no randomness."""
