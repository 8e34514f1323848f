"""The users of `halfminute serve --demo`, their tokens, portraits and history. Imports the access layer and storage."""
