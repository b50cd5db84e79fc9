"""A PostgreSQL of one's own, made by the machine's `initdb` in a temporary folder, on a Unix socket in it and nowhere else."""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import urllib.parse

# What makes tests fast and is no good for anything else.
SETTINGS = "-c fsync=off -c listen_addresses='' -c max_connections=200"


@contextlib.contextmanager
def cluster():
    """Runs a server until the end of the block; gives the URL of its database."""
    with tempfile.TemporaryDirectory(prefix="llm-gate-pg-") as folder:
        run = Runner(pathlib.Path(folder))
        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        run("pg_ctl", "start", "-w", "-s", "-l", f"{folder}/log", "-o", f"{SETTINGS} -k {folder}")
        try:
            yield f"postgres://postgres@{urllib.parse.quote(folder, safe='')}/postgres"
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-s")


class Runner:
    """Runs programs of PostgreSQL, as somebody that it accepts: it refuses to be run by root."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.owner = {}
        if os.getuid() == 0:
            user = unprivileged()
            os.chown(folder, user.pw_uid, user.pw_gid)
            self.owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def __call__(self, program: str, *arguments: str):
        # A server that goes on holds no pipe of ours open.
        subprocess.run([find(program), *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True,
                       env={**os.environ, "PGDATA": str(self.folder / "data")}, **self.owner)


def unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SystemExit("root runs PostgreSQL as `postgres` or `nobody`: there is neither")


def find(program: str) -> str:
    """Looks where Debian puts it, the newest version first, and in PATH."""
    places = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    found = shutil.which(program, path=path)
    if found is None:
        raise SystemExit(f"no `{program}` in PATH or /usr/lib/postgresql/*/bin: install PostgreSQL (Debian: `apt install postgresql`)")
    return found
