"""People: registration, logins, sessions, passwords and tokens."""
