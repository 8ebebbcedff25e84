"""Runs everything on one machine: starts the children in order, restarts what dies, stops all."""
