"""Checks a SCIM server with scim2-tester, and prints a line of JSON for each check: its title, its status, the resource type and the reason.

Started as: scim-tester.py URL CA_FILE, with the bearer token in SCIM_TOKEN. It exits with 0 whatever it finds: who started it reads that.
"""

import json
import os
import ssl
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

url, ca = sys.argv[1:]
client = Client(
    base_url=url,
    headers={"Authorization": f"Bearer {os.environ['SCIM_TOKEN']}"},
    verify=ssl.create_default_context(cafile=ca),
    timeout=60,
)
for result in check_server(SyncSCIMClient(client)):
    print(json.dumps([result.title, result.status.name, result.resource_type, result.reason]), flush=True)
