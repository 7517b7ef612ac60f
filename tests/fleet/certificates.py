import trustme


class Authority:
    """Certificates of one authority, as PEM files in a folder."""

    def __init__(self, folder):
        self.folder, self.authority, self.issued = folder, trustme.CA(), {}
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)

    def issue(self, name):
        """Paths of a certificate and its key for `name`, which is how the one who shows it is known; the same ones each time."""
        if name in self.issued:
            return self.issued[name]
        made = self.authority.issue_cert(name, "localhost", "127.0.0.1")
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        self.issued[name] = cert, key
        return cert, key
