"""`python -m appliance`: the command line."""

import sys

from calibration.process_list import hide_secrets_in_arguments

if __name__ == "__main__":
    hide_secrets_in_arguments()  # before anything that takes time: everybody on the box can read them until then
    from appliance.cli.main import main

    sys.exit(main())
