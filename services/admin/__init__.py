"""What administrators see and do: people, the platform's figures, the audit log.

Everything here reads across users as the system role; the caller's right to it was checked by the
dialect, and what is read of people is audited.
"""
