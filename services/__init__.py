"""Use cases: one public method is one intent in one or two short transactions.

Services own their transactions and commit before they return. They reach venues, the vault and the
workflow service through `domain.ports` only.
"""
