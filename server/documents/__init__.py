"""The texts of both API documents about fields and values: descriptions, meanings of enumerations, and examples.

Imports the layers below.
"""
