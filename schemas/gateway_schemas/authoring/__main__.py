"""`python -m gateway_schemas.authoring` is `gateway-plugin`."""

import sys

from gateway_schemas.authoring.command import main

sys.exit(main())
