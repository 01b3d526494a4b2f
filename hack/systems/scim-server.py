"""Serves SCIM with scim2-server's own parts, under TLS and with data that outlives a crash. Its own command has neither.

Started by hack/systems/scim as: scim-server.py PORT FOLDER CERTIFICATE KEY, with the administrator's bearer token in SCIM_TOKEN.
Each /NAME/v2 is a tenant with resources of its own, made by the first request. In FOLDER/NAME.tokens there may be tokens for that
tenant alone, which may be exchanged while it runs.
"""

import json
import os
import ssl
import sys
import uuid
from pathlib import Path
from urllib.parse import quote
from wsgiref.simple_server import make_server

from scim2_models import ScimProvider
from scim2_server import utils
from scim2_server.applications.wsgi import TenantDispatcher
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.testserver.cli import ThreadingWSGIServer


class KeptStorage(InMemoryStorage):
    """Resources in memory, and a file in which each change is a line."""

    def __init__(self, file, provider):
        super().__init__()
        lines = file.read_text() if file.exists() else ""
        lines = lines[: lines.rfind("\n") + 1]  # a crash may have cut the last one
        kept = {}
        for kind, id, resource in map(json.loads, lines.splitlines()):
            kept.pop((kind, id), None)
            if resource is not None:
                kept[kind, id] = provider.model_for(kind).model_validate(resource)
        self.resources = list(kept.values())
        self.journal = file.open("a", buffering=1)
        self.journal.truncate(len(lines))

    def next_version(self):
        """None is given twice, not even after a restart."""
        return f'W/"{uuid.uuid4().hex}"'

    def write(self, resource_type, id, resource):
        self.journal.write(json.dumps([resource_type.name, id, resource]) + "\n")

    def create(self, resource_type, resource):
        with self.lock:
            created = super().create(resource_type, resource)
            self.write(resource_type, created.id, created.model_dump())
            return created

    def update(self, resource_type, resource, **options):
        with self.lock:
            updated = super().update(resource_type, resource, **options)
            self.write(resource_type, updated.id, updated.model_dump())
            return updated

    def delete(self, resource_type, resource_id, **options):
        with self.lock:
            super().delete(resource_type, resource_id, **options)
            self.write(resource_type, resource_id, None)


class Tenant(BearerTokenApplication):
    """Looks at each request which tokens are good by now."""

    def __init__(self, file, *parts, **options):
        self.file = file
        super().__init__(*parts, **options)

    @property
    def bearer_tokens(self):
        return self.good_everywhere | set(self.file.read_text().split() if self.file.exists() else ())

    @bearer_tokens.setter
    def bearer_tokens(self, tokens):
        self.good_everywhere = tokens


class TlsServer(ThreadingWSGIServer):
    """Each connection's handshake is a matter of its own thread, so that one who is slow holds nobody up."""

    def get_request(self):
        connection, address = super().get_request()
        connection.settimeout(30)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def setup_environ(self):
        super().setup_environ()
        self.base_environ["HTTPS"] = "on"  # so that locations say https

    def handle_error(self, request, client_address):
        print(f"{client_address}: {sys.exc_info()[1]!r}", file=sys.stderr)


def main():
    port, folder, certificate, key = sys.argv[1:]
    config = utils.load_default_service_provider_config()
    config.authentication_schemes = [BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        utils.load_default_schemas().values(), utils.load_default_resource_types().values(), config=config
    )
    service = ScimService(provider)

    def tenant(name):
        file = str(Path(folder, quote(name, safe="")))
        storage = KeptStorage(Path(file + ".jsonl"), provider)
        tokens = Path(file + ".tokens")
        return Tenant(tokens, storage, provider, service=service, bearer_tokens=[os.environ["SCIM_TOKEN"]])

    TlsServer.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TlsServer.tls.load_cert_chain(certificate, key)
    with make_server("127.0.0.1", int(port), TenantDispatcher(tenant), server_class=TlsServer) as server:
        server.serve_forever()


main()
