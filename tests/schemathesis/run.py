#!/usr/bin/env python3
"""Compares the gateway with its OpenAPI document, by requests that schemathesis makes of the document.

Starts the built gateway in front of a scripted vLLM, both at free ports of 127.0.0.1 with their data in a
temporary folder; makes admins, users, keys and an operator key; and asks with each of them. What a credential is
good for has to be let in at least once, or nothing would be known of it. What it started ends with it.
With --postgres there are two gateways on one PostgreSQL, and every request goes to the other one.
Needs schemathesis (requirements.txt) in the environment that runs this, and the two programs:

    cargo build -p llm-gate-gateway -p scripted-vllm
    python3 tests/schemathesis/run.py            # three minutes
    python3 tests/schemathesis/run.py --long     # at least 5,000 requests
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import urllib.request

import postgres
import round_robin

HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "correct horse battery"
# What would answer most of the requests with 429; its own tests are in Rust.
RATE_LIMITS = ["PER_ADDRESS", "PER_IDENTITY", "LOGINS_PER_ADDRESS", "FAILURES_PER_ADDRESS", "LOGIN_FAILURES"]
# How many requests a run makes at least.
SHORT, LONG = 1_000, 5_000
# The requests of a short run that are made as well: those of the document's examples, and some at random.
SOME = "examples,fuzzing"
SCOPES = ["inference", "models", "usage", "manage"]
# What nobody can do by guessing: it takes a letter, a provider, or something that was made before.
UNLIKELY = {
    "POST /api/v1/auth/email/verify",
    "POST /api/v1/invites/accept",
    "POST /api/v1/users/me/email/verification",
    "POST /api/v1/users/me/identities",
    "PUT /api/v1/users/me/password",
    "DELETE /api/v1/users/me",
    "DELETE /api/v1/limits",
    "DELETE /api/v1/prices",
}
# What ends an account, a session or a key, whose identifiers are in answers: also those of who asks.
ENDS = re.compile(r"account_end_session|users_(change|delete)|organization_users_(change|delete)"
                  r"|keys_(change|revoke|rotate)|organization_(admin_)?keys_(change|delete)")
# What takes the own identifier of who is no admin.
OWN = {"GET /api/v1/limits", "PUT /api/v1/limits"}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--long", action="store_true", help=f"make at least {LONG:,} requests")
    arguments.add_argument("--postgres", action="store_true", help="two gateways on one PostgreSQL")
    arguments.add_argument("--programs", type=pathlib.Path, default=HERE.parents[1] / "target/debug",
                           help="where llm-gate and scripted-vllm are")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-gate-schemathesis-") as folder, contextlib.ExitStack() as stage:
        gate = Gate(arguments.programs, pathlib.Path(folder), stage, arguments.postgres)
        return examine(gate, arguments.long, arguments.postgres)


class Gate:
    """A gateway or two at work, and somebody of each kind."""

    def __init__(self, programs: pathlib.Path, folder: pathlib.Path, stage: contextlib.ExitStack, two: bool):
        self.folder = folder
        upstream = stage.enter_context(running([programs / "scripted-vllm"], folder, {}))
        environment = {
            "LLM_GATE_DATA_DIR": str(folder / "data"),
            "LLM_GATE_PASSWORDS__MEMORY_KIB": "7168",
            "LLM_GATE_PASSWORDS__ITERATIONS": "5",
            # Nothing but what the requests themselves set stands in their way.
            "LLM_GATE_LIMITS__DEFAULT_USER": str(2**40),
            "JWT_EXPIRATION_HOURS": "24",
            **{f"LLM_GATE_RATE_LIMITS__{limit}": "off" for limit in RATE_LIMITS},
            "LLM_GATE_LOG__FORMAT": "json",
            "LLM_GATE_METRICS__PORT": "0",
            "PORT": "0",
            "VLLM_ENDPOINT": upstream.stdout.readline().strip(),
            # So that a call may leave its model out.
            "MODEL_NAME": "tiny",
        }
        environments = [environment]
        if two:
            front = round_robin.Front()
            environment |= {
                "DATABASE_URL": stage.enter_context(postgres.cluster()),
                "JWT_SECRET_KEY": "one secret for both, thirty-two bytes",
                "API_KEY_PEPPER": "one pepper for both, thirty-two bytes",
                "WEB_URL": front.url,
            }
            environments.append({**environment, "LLM_GATE_DATA_DIR": str(folder / "other")})
        self.program, self.environment, self.people = programs / "llm-gate", environment, 0
        # A key for whoever operates the gateway, of whom it knows the hash.
        self.operator = secrets.token_urlsafe(32)
        for each in environments:
            each["API_TOKEN_HASH"] = hashlib.sha256(self.operator.encode()).hexdigest()
        self.servers = [Server(self.program, folder, each, stage) for each in environments]
        self.url = f"http://{self.servers[0].address}"
        if two:
            front.serve([server.address for server in self.servers])
            self.url = front.url
        with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=30) as answer:
            self.document = json.load(answer)

    def post(self, path: str, body: dict, login: str | None = None) -> dict:
        headers = {"Content-Type": "application/json"}
        if login:
            headers["Authorization"] = f"Bearer {login}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def somebody(self, kind: str) -> dict:
        """Makes somebody, who logs in and has a key for all that it may be for: what came before may have ended others."""
        if kind == "operator":
            return {"operator": self.operator}
        self.people += 1
        name, scopes = f"{kind}-{self.people}", [*SCOPES, "admin"] if kind == "admin" else SCOPES
        command = [self.program, "user", "create", name, "--password-stdin", *(["--admin"] if kind == "admin" else [])]
        subprocess.run(command, cwd=self.folder, env=self.environment, input=PASSWORD, text=True, check=True,
                       stdout=subprocess.DEVNULL)
        pair = self.post("/api/v1/auth/login", {"username": name, "password": PASSWORD})
        login = pair["access_token"]
        request = urllib.request.Request(self.url + "/api/v1/users/me", headers={"Authorization": f"Bearer {login}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            project = json.load(answer)["default_project_id"]
        wanted = {"name": "schemathesis", "scopes": scopes}
        key = self.post(f"/api/v1/projects/{project}/api-keys", wanted, login)["api_key"]
        return {"session": login, "api_key": key, "api_key_header": key}


class Server:
    """The process of a gateway."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path, environment: dict, stage: contextlib.ExitStack):
        self.process = stage.enter_context(running([program, "serve"], folder, environment))
        self.failures: list[str] = []
        self.served = 0
        self.address = self.listening()

    def listening(self) -> str:
        """Waits until the log says where it listens, and reads on, so that the log never blocks."""
        for line in self.process.stderr:
            fields = json.loads(line).get("fields", {})
            if "metrics_address" in fields:
                threading.Thread(target=self.read_log, daemon=True).start()
                return fields["address"]
        raise SystemExit("the gateway did not start")

    def read_log(self):
        for line in self.process.stderr:
            entry = json_line(line)
            if "panicked" in line or entry.get("level") == "ERROR":
                self.failures.append(line.strip())
            if entry.get("fields", {}).get("message") == "request":
                self.served += 1


def json_line(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:
        return {}


@contextlib.contextmanager
def running(command: list, folder: pathlib.Path, environment: dict):
    """Runs a program until the end of the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def examine(gate: Gate, long: bool, two: bool) -> int:
    # Calls first: what an admin's requests set on limits would refuse the rest of them.
    # Last what ends the session or the account that asks, or another.
    calls, ends, rest = [], [], []
    for path, item in gate.document["paths"].items():
        for name in (operation["operationId"] for operation in item.values()):
            if re.match("^/(v1/(?!organization/)|chat/)", path):
                calls.append(name)
            elif name not in ["account_delete", "account_end_sessions"]:
                (ends if ENDS.fullmatch(name) else rest).append(name)
    calls, ends, rest = only(calls), only(ends), only(rest)
    many, few = ["--max-examples", "150" if long else "20"], ["--max-examples", "20" if long else "2"]
    few += [] if long else ["--phases", SOME]
    # Two gateways get what one got, in a short run the part of it that leads on from answer to answer.
    many = few if two and not long else many
    runs = [
        ("calls, by an API key", "user", "api_key", [*calls, *many]),
        ("calls, by a key in X-API-Key", "user", "api_key_header", [*calls, *few]),
        ("calls, by a login", "user", "session", [*calls, *few]),
        ("the rest, by a user", "user", "session", [*rest, *few]),
        ("the rest, by a user's key", "user", "api_key", [*rest, *few]),
        ("the rest, by the operator", "operator", "operator", [*rest, *few]),
        ("the rest, by an admin's key", "admin", "api_key_header", [*rest, *few]),
        ("the rest, by an admin", "admin", "session", [*rest, *many]),
        ("what ends sessions", "user", "session", [*only(["account_end_sessions"]), *few]),
        ("what ends an account", "user", "session", [*only(["account_delete"]), *few]),
        ("what ends others", "admin", "session", [*ends, *many]),
    ]
    requests, failed = 0, []
    for words, kind, scheme, chosen in runs:
        print(f"\n== {words}", flush=True)
        code, made, answers = ask(gate, scheme, gate.somebody(kind)[scheme], chosen)
        requests += made
        if code:
            failed.append(words)
        # What an earlier run has made is a conflict, which nobody is told who may not make it.
        shut = {operation for operation in open_to(gate.document, scheme, kind != "user")
                if answers.get(operation) and not any(status < 400 or status == 409 for status in answers[operation])}
        if shut := sorted(shut - UNLIKELY - (OWN if kind == "user" else set())):
            print("\nnever let in, so nothing is known of them:\n  " + "\n  ".join(shut))
            failed.append(f"{words}: {len(shut)} operations were never let in")
    least = LONG if long else SHORT
    if requests < least:
        failed.append(f"less than {least:,} requests")
    for server in gate.servers:
        if server.failures:
            failed.append("the log of a gateway")
            print("\n".join(server.failures[:20]), file=sys.stderr)
        if server.process.poll() is not None:
            failed.append("a gateway has ended")
    # Those that schemathesis counts are the fewest: it asks each again, in other ways.
    served = [server.served for server in gate.servers]
    print(f"\nserved by the gateways: {served}")
    if min(served) < requests / len(served) * 0.8:
        failed.append("a gateway had not much to do")
    print(f"\n{requests:,} requests; " + ("failed: " + "; ".join(failed) if failed else "the gateway does what its document says"))
    return 1 if failed else 0


def only(names: list[str]) -> list[str]:
    """Chooses these operations."""
    return ["--include-operation-id-regex", f"^({'|'.join(names)})$"]


def open_to(document: dict, scheme: str, admin: bool):
    """Lists what a credential is good for, and what can be asked for without knowing an identifier."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            roles = [roles for one in operation["security"] for name, roles in one.items() if name == scheme]
            if "{" not in path and roles and (admin or roles[0] != ["admin"]):
                yield f"{method.upper()} {path}"


def ask(gate: Gate, scheme: str, secret: str, more: list) -> tuple[int, int, dict[str, list[int]]]:
    """Runs schemathesis as somebody; returns its exit code, how many requests it made up, and what was answered."""
    config, answers = gate.folder / "schemathesis.toml", gate.folder / "answers"
    place = "api_key" if scheme == "api_key_header" else "bearer"
    credential = f'\n[auth.openapi.{scheme}]\n{place} = "{secret}"\n'
    config.write_text((HERE / "schemathesis.toml").read_text() + credential)
    answers.write_text("")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", config,
               "run", f"{gate.url}/openapi.json", "--checks", "all", "--no-color", "--continue-on-failure",
               "--request-timeout", "30", *more]
    environment = {**os.environ, "ANSWERS": str(answers), "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
    made = 0
    with subprocess.Popen(command, cwd=gate.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"^\s*(\d+) generated", line):
                made = int(found[1])
    statuses = collections.defaultdict(list)
    for line in answers.read_text().splitlines():
        operation, status = line.rsplit(" ", 1)
        statuses[operation].append(int(status))
    return process.returncode, made, statuses


if __name__ == "__main__":
    sys.exit(main())
