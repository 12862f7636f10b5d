"""Nothing in, a new pair of SSH keys out."""

from __future__ import annotations


def key_pair() -> tuple[bytes, str]:
    """An Ed25519 private key as OpenSSH keeps it, and the public one as `ssh-ed25519 AAAA…`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
