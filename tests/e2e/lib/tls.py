"""Certificates of the tests' own authority."""

import ssl
import subprocess

from lib.programs import program


class Authority:
    """Signs certificates for names; `ca_file` is what a client needs to believe them."""

    def __init__(self, place):
        self.place = place
        self.ca_file = str(place / "ca.pem")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", "/CN=Authority of the tests", "-keyout", "ca.key", "-out", "ca.pem")

    def _openssl(self, *words):
        subprocess.run([program("openssl", "openssl"), *words], cwd=self.place, check=True, capture_output=True)

    def context(self, name, days=2):
        """A server's TLS context for one host name or address, such as `DNS:localhost` or `IP:127.0.0.1`."""
        stem = name.replace(":", "-")
        (self.place / f"{stem}.ext").write_text(f"subjectAltName={name}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=engine",
                      "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
        self._openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", str(days), "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.place / f"{stem}.pem", self.place / f"{stem}.key")
        return context
