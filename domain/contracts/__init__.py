"""Messages between the API, workflows and activities: one frozen model in, one out."""
