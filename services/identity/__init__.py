"""People: registration, logins, sessions, passwords, tokens, second factors, and leaving."""
