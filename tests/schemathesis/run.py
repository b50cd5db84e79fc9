#!/usr/bin/env python3
"""Compares the gateway with its OpenAPI document, by requests that schemathesis makes of the document.

Starts the built gateway in front of a scripted vLLM, both at free ports of 127.0.0.1 with their data in a
temporary folder; makes an admin, a user and a key; and asks as each of them. What it started ends with it.
With --postgres there are two gateways on one PostgreSQL, and every request goes to the other one.
Needs schemathesis (requirements.txt) in the environment that runs this, and the two programs:

    cargo build -p llm-gate-gateway -p scripted-vllm
    python3 tests/schemathesis/run.py            # about a minute
    python3 tests/schemathesis/run.py --long     # at least 5,000 requests
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
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
# How many requests a long run makes at least.
LONG = 5_000


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--long", action="store_true", help=f"make at least {LONG:,} requests")
    arguments.add_argument("--postgres", action="store_true", help="two gateways on one PostgreSQL")
    arguments.add_argument("--programs", type=pathlib.Path, default=HERE.parents[1] / "target/debug",
                           help="where llm-gate and scripted-vllm are")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-gate-schemathesis-") as folder, contextlib.ExitStack() as stage:
        gate = Gate(arguments.programs, pathlib.Path(folder), stage, arguments.postgres)
        return examine(gate, arguments.long)


class Gate:
    """A gateway or two at work, and somebody of each kind."""

    def __init__(self, programs: pathlib.Path, folder: pathlib.Path, stage: contextlib.ExitStack, two: bool):
        self.folder = folder
        upstream = stage.enter_context(running([programs / "scripted-vllm"], folder, {}))
        environment = {
            "LLM_GATE_DATA_DIR": str(folder / "data"),
            "LLM_GATE_PASSWORDS__MEMORY_KIB": "7168",
            "LLM_GATE_PASSWORDS__ITERATIONS": "1",
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
        program = programs / "llm-gate"
        subprocess.run([program, "user", "create", "root", "--admin", "--password-stdin"], cwd=folder,
                       env=environment, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL)
        self.servers = [Server(program, folder, each, stage) for each in environments]
        self.url = f"http://{self.servers[0].address}"
        if two:
            front.serve([server.address for server in self.servers])
            self.url = front.url
        self.post("/api/v1/auth/register", {"username": "ada", "password": PASSWORD})
        self.admin, self.user = self.enter("root"), self.enter("ada")

    def post(self, path: str, body: dict, login: str | None = None) -> dict:
        headers = {"Content-Type": "application/json"}
        if login:
            headers["Authorization"] = f"Bearer {login}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def enter(self, name: str) -> dict:
        """Logs somebody in, and makes a key."""
        pair = self.post("/api/v1/auth/login", {"username": name, "password": PASSWORD})
        login = pair["access_token"]
        request = urllib.request.Request(self.url + "/api/v1/users/me", headers={"Authorization": f"Bearer {login}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            project = json.load(answer)["default_project_id"]
        key = self.post(f"/api/v1/projects/{project}/api-keys", {"name": "schemathesis"}, login)
        return {"LOGIN": login, "KEY": key["api_key"]}


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


def examine(gate: Gate, long: bool) -> int:
    # Calls first: what an admin's requests set on limits would refuse the rest of them.
    # Last what ends the session or the account that asks.
    calls, ends = "^/(v1/(?!organization/)|chat/)", "^/api/v1/users/me(/sessions)?$"
    calls, rest, last = (["--include-path-regex", calls], ["--exclude-path-regex", f"{calls}|{ends}"],
                         ["--include-path-regex", ends])
    some = "150" if long else "20"
    runs = [
        ("calls, by an API key", gate.user, calls, some),
        ("the rest, by a user", gate.user, rest, "20" if long else "1"),
        ("the rest, by an admin", gate.admin, rest, some),
        ("what ends a session, by a user", gate.user, last, some),
    ]
    requests, failed = 0, []
    for words, who, chosen, examples in runs:
        print(f"\n== {words}", flush=True)
        code, made = ask(gate, who, [*chosen, "--max-examples", examples])
        requests += made
        if code:
            failed.append(words)
    if long and requests < LONG:
        failed.append(f"less than {LONG:,} requests")
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


def ask(gate: Gate, who: dict, more: list) -> tuple[int, int]:
    """Runs schemathesis as somebody; returns its exit code and how many requests it made up."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml",
               "run", f"{gate.url}/openapi.json", "--checks", "all", "--no-color", "--continue-on-failure",
               "--request-timeout", "30", *more]
    environment = {**os.environ, **who, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
    made = 0
    with subprocess.Popen(command, cwd=gate.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"^\s*(\d+) generated", line):
                made = int(found[1])
    return process.returncode, made


if __name__ == "__main__":
    sys.exit(main())
