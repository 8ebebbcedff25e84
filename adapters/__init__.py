"""What implements `domain.ports`: the only importers of vendor SDKs."""
