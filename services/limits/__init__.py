"""What a caller may do a minute, by the one plan table; and how calls are counted."""
