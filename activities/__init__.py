"""Activities: take a contract, call one service method, translate the error.

Modules here stay light (workflows import them): services are named under TYPE_CHECKING and handed
in by bootstrap.
"""
