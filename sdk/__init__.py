"""The client libraries, and what writes their generated parts."""
