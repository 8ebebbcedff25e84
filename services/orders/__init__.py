"""Orders: sent once, settled by looking up, booked into fills, positions and balances."""
