"""What Aperture says and hears: bytes in, bytes out, no sockets."""
