"""What every dialect shares: problems, wire types, the ASGI edge, the container."""
