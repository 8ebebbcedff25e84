"""The NIJA dialect: `/api/v1`, and whatever is mounted nowhere else."""
