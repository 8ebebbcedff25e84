"""Live updates over WebSocket, in no dialect's words: connections, limits, fan-out, resume.

A dialect brings a `Codec`, which reads its clients' messages and writes its frames, and a route
that hands connections to the `Hub`.
"""
