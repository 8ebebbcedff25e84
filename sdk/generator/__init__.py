"""Writes the typed methods of both SDKs from the API's OpenAPI document."""
