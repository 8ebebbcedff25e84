"""Live updates: reading the committed events of users, and what their holdings are worth now.

Events are written by triggers (migration 0007) in the transaction that makes them true. Here they
are read: in batches as they are notified, again for a client that missed some, and, beside them,
prices, which nobody commits for anybody.
"""
