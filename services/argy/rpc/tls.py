"""TLS credentials from files."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from argy.base.crypto import read_secret, read_trusted

# gRPC's core speaks TLS 1.2 and 1.3 only; nothing older can be negotiated.


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files of a server: certificate chain, key, and the CA of its clients when it asks for one."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Read the files.

        Raises:
            FailedPrecondition: naming the file that is missing, or the key that is open to others
                or belongs to somebody else, as ``read_secret`` does; or the certificate that
                anybody may write.
        """
        return grpc.ssl_server_credentials(
            [(read_secret(self.key), read_trusted(self.certificate))],
            root_certificates=read_trusted(self.client_ca) if self.client_ca else None,
            require_client_auth=self.client_ca is not None,
        )


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files of a client: the CA that it trusts, and its own certificate where one is asked for."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; raises FailedPrecondition as ``ServerTls.credentials`` does."""
        return grpc.ssl_channel_credentials(
            root_certificates=read_trusted(self.ca),
            private_key=read_secret(self.key) if self.key else None,
            certificate_chain=read_trusted(self.certificate) if self.certificate else None,
        )
