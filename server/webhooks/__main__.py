"""A fresh secret, for NOWAIT_WEBHOOK_SECRETS and the receivers of webhooks."""

import argparse

from server.webhooks.signing import new_secret

if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m server.webhooks", description=__doc__).parse_args()
    print(new_secret())
