"""Structured, recorded, rate-limited calls to a chat model."""
