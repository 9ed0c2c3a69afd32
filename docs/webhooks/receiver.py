#!/usr/bin/env python3
"""Receives webhooks of callkitd: checks the signature, its age and whether the delivery is a repetition, then prints the event.

    receiver.py --secret SECRET [--secret OLD_SECRET] [--port PORT] [--deliveries FILE]

The standard library is all it needs. Prints `listening PORT` first, then one JSON object a line. `--deliveries` names the SQLite
file that remembers what was handled; without it a restart forgets.
"""

import argparse
import hashlib
import hmac
import http.server
import json
import sqlite3
import threading
import time

REPLAY_WINDOW_S = 300
MAX_BODY_BYTES = 64 * 1024
# Digits of a time that can be within the window.
MAX_TIME_DIGITS = 12
# How long a delivery is remembered: longer than the server tries, or a late repetition would be handled again.
REMEMBERED_S = 7 * 86_400


def is_genuine(secrets, header, body, now):
    """Whether one of the secrets made this signature, within the replay window."""
    at, signatures = None, []
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t":
            if not (value.isascii() and value.isdigit() and len(value) <= MAX_TIME_DIGITS):
                return False
            at = value
        elif name == "v1":
            signatures.append(value.encode())
    if at is None or abs(now - int(at)) > REPLAY_WINDOW_S:
        return False
    genuine = False
    for secret in secrets:
        wanted = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest().encode()
        for signature in signatures:
            # Takes the same time wherever the two differ, and looks at all of them.
            genuine |= hmac.compare_digest(wanted, signature)
    return genuine


def event_of(body):
    """The event in a body that was signed, or None if it is not one."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_event = isinstance(event, dict) and isinstance(event.get("delivery"), str)
    return event if is_event else None


class Deliveries:
    """The ids of the deliveries that were handled, in SQLite: beside an app's own data, where it has a database."""

    def __init__(self, file):
        self.lock = threading.Lock()
        # Each transaction is begun and ended below.
        self.database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS deliveries (delivery TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID"
        )
        self.database.execute("CREATE INDEX IF NOT EXISTS deliveries_by_time ON deliveries (at)")

    def handle_once(self, delivery, now, handle):
        """Handles a delivery unless it was before. The id is kept only if that succeeds: else the server tries again."""
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                self.database.execute("DELETE FROM deliveries WHERE at < ?", (int(now) - REMEMBERED_S,))
                row = (delivery, int(now))
                if self.database.execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?)", row).rowcount == 1:
                    handle()
                self.database.execute("COMMIT")
            except BaseException:
                self.database.execute("ROLLBACK")
                raise


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    secrets, deliveries = [], None

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY_BYTES):
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(int(length))
        header, now = self.headers.get("Callkit-Signature", ""), time.time()
        # What is signed is the body: the delivery is taken from there, not from the header.
        event = event_of(body) if is_genuine(self.secrets, header, body, now) else None
        if event is None:
            return self.answer(401)
        # A real backend does its work where this prints, in the same transaction.
        self.deliveries.handle_once(event["delivery"], now, lambda: print(json.dumps(event), flush=True))
        # A repetition is answered like the first: the answer to that one may have been lost.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        """Says nothing: addresses are nobody's business."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secret", action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deliveries", default=":memory:", metavar="FILE")
    options = parser.parse_args()
    Receiver.secrets = options.secret
    Receiver.deliveries = Deliveries(options.deliveries)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Receiver)
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
