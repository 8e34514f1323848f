"""Pictures of every screen and state of the web client, for people to look at: `python -m tests.web.screenshots`."""
