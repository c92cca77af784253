"""Keep gRPC from writing to standard error what its caller gets as an error too.

gRPC reads this when it is imported, so that this module is imported before everything else.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
