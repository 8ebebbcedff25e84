"""Billing: plans that are paid for, through a payment provider behind a port.

Three rules. A command is committed before anything is sent, and every write of it goes out under a
key made from its id, so it has one effect however often it is carried out. What the provider says
is stored only by reading its current state, never from an event's contents. The user's tier is
changed by nothing else than billing and administrators.
"""
