#!/usr/bin/env python3
"""Receives webhooks of callkitd: checks the signature, its age and whether the delivery is a repetition, then prints the event.

    receiver.py --secret SECRET [--secret OLD_SECRET] [--port PORT]

The standard library is all it needs. Prints `listening PORT` first, then one JSON object a line.
"""

import argparse
import collections
import hashlib
import hmac
import http.server
import json
import threading
import time

REPLAY_WINDOW_S = 300
MAX_BODY_BYTES = 64 * 1024
# Deliveries remembered. A real backend keeps them beside its own data, with the work they caused, in one transaction.
REMEMBERED = 100_000


def is_genuine(secrets, header, body, now):
    """Whether one of the secrets made this signature, within the replay window."""
    at, signatures = None, []
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t" and value.isascii() and value.isdigit():
            at = int(value)
        elif name == "v1":
            signatures.append(value.encode())
    if at is None or abs(now - at) > REPLAY_WINDOW_S:
        return False
    genuine = False
    for secret in secrets:
        wanted = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest().encode()
        for signature in signatures:
            # Takes the same time wherever the two differ, and looks at all of them.
            genuine |= hmac.compare_digest(wanted, signature)
    return genuine


class Deliveries:
    """The ids of the deliveries that were handled."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ids = collections.OrderedDict()

    def is_new(self, delivery):
        with self.lock:
            if delivery in self.ids:
                return False
            self.ids[delivery] = True
            if len(self.ids) > REMEMBERED:
                self.ids.popitem(last=False)
            return True


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    secrets, deliveries = [], Deliveries()

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        header = self.headers.get("Callkit-Signature", "")
        if not is_genuine(self.secrets, header, body, time.time()):
            return self.answer(401)
        # What is signed is the body: the delivery is taken from there, not from the header.
        event = json.loads(body)
        if self.deliveries.is_new(event["delivery"]):
            print(json.dumps(event), flush=True)
        # A repetition is answered like the first: the answer to that one may have been lost.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secret", action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    Receiver.secrets = options.secret
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Receiver)
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
