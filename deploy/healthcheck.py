"""Whether the part of the service in this container answers. The address is in HEALTH_URL; default: a Prefect API."""

import os
import sys
import urllib.request

URL = os.environ.get("HEALTH_URL", "http://127.0.0.1:4200/api/ready")

try:
    with urllib.request.urlopen(URL, timeout=8) as answer:  # noqa: S310 - whoever runs the container sets the address
        sys.exit(0 if answer.status == 200 else 1)
except OSError as error:
    sys.exit(f"{URL}: {error}")
