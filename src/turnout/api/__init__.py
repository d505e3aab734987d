"""The HTTP edge: bytes in, bytes out. Everything that decides lives below."""
