"""Wire models of the NIJA dialect, a file a section of the contract."""
