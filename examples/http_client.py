"""The HTTP API from any program: log in, submit, wait, list, with nothing but the standard library.

    zjp node --app examples.tasks:app --auth-enabled true --auth-dev-users true
    python -m examples.http_client http://127.0.0.1:8080 admin admin123

The same four requests are all that a client in another language needs. Without a name no one logs in: for an API without auth. Python
programs have it easier with `zjp.Client("http://...")`, which also repeats and fails over.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlencode

LIMIT_S = 60.0
WAIT_S = 20


class Refused(Exception):
    """What a problem document says."""


class Api:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Content-Type": "application/json"}

    def log_in(self, name: str, password: str) -> None:
        told = self.ask("POST", "/auth/login", {"username": name, "password": password})
        self.headers["Authorization"] = f"Bearer {told['token']}"

    def submit(self, type: str, payload: dict[str, Any]) -> str:
        """The id is made here: so the request may be sent again when no answer came, and makes one job all the same."""
        job = self.ask("POST", "/api/v1/jobs", {"id": str(uuid.uuid4()), "type": type, "payload": payload})
        return str(job["id"])

    def wait(self, job_id: str) -> Any:
        """Each request waits at the server; 202 says that the job is not finished yet."""
        while True:
            told = self.ask("GET", f"/api/v1/jobs/{job_id}/result?wait={WAIT_S}")
            if told["status"] == "completed":
                return told["result"]
            if told["status"] in ("failed", "cancelled"):
                raise Refused(f"job {job_id} {told['status']}: {(told['error'] or {}).get('message', '')}")

    def jobs(self, **filters: str) -> list[dict[str, Any]]:
        """Every page; a cursor of null is the end."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.ask("GET", f"/api/v1/jobs?{urlencode({**filters, 'cursor': cursor})}")
            found += page["items"]
            if not page["cursor"]:
                return found
            cursor = page["cursor"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            problem = json.load(fault)
            raise Refused(f"{fault.code} {problem['code']}: {problem['detail']}") from None


def main(url: str, name: str = "", password: str = "") -> None:
    api = Api(url)
    if name:
        api.log_in(name, password)
    job_id = api.submit("email", {"recipient": "a@example.com", "subject": "hi"})
    print(f"submitted {job_id}")
    print(f"result    {api.wait(job_id)}")
    done = api.jobs(type="email", status="completed")
    print(f"completed {len(done)} of type email, the newest is {done[0]['id']}")
    try:
        api.submit("email", {"recipient": "x" * 2_000_000})
    except Refused as fault:
        print(f"refused   {fault}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
