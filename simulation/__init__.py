"""A seeded simulation of the whole system: real services, a real database, a venue with faults."""
