"""Aperture's call and our answer: bytes in, bytes out, no sockets."""
