"""Asks the manager for a session: request.py STATE API_PORT SESSION IMAGE.

Prints the manager's status and answer. Signed as Backend.AI's own clients sign; the string that is signed is in
`ai/backend/manager/api/auth.py`.
"""
import datetime
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request

ACCESS_KEY = "AKIALABSUPERADMIN001"
VERSION = "v6.20220615"


def main(state, port, session, image):
    with open(f"{state}/secrets/api") as file:
        secret = file.read().strip()
    host, path, kind = f"127.0.0.1:{port}", "/session", "application/json"
    now = datetime.datetime.now(datetime.timezone.utc)
    date = now.isoformat()
    signed = "\n".join(["POST", path, date, f"host:{host}", f"content-type:{kind}",
                        f"x-backendai-version:{VERSION}", hashlib.sha256(b"").hexdigest()])
    key = hmac.new(secret.encode(), now.strftime("%Y%m%d").encode(), "sha256").digest()
    key = hmac.new(key, host.encode(), "sha256").digest()
    signature = hmac.new(key, signed.encode(), "sha256").hexdigest()
    body = {"image": image, "clientSessionToken": session, "domain": "default", "group": "default",
            "type": "interactive", "enqueueOnly": True, "config": {"resources": {"cpu": "1", "mem": "64m"}}}
    request = urllib.request.Request(f"http://{host}{path}", json.dumps(body).encode(), method="POST", headers={
        "Content-Type": kind, "Date": date, "X-BackendAI-Version": VERSION,
        "Authorization": f"BackendAI signMethod=HMAC-SHA256, credential={ACCESS_KEY}:{signature}"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())


main(*sys.argv[1:])
