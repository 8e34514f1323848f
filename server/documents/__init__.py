"""What both API documents say about fields and values: descriptions, meanings of enumerations, and examples.

Imports the layers below.
"""
