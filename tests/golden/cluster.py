"""A real Kafka that lives as long as one capture, and its tools. Used by `capture` and `capture-batches`."""

import contextlib
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests/kafka/kafka"


class Cluster:
    """One running node."""

    def __init__(self, directory, version, server, variables):
        self.dir = directory
        self.version = version
        self.server = server  # where its tools find it
        self.variables = variables  # what `kafka up` printed

    def tool(self, name, *words, **more):
        """A tool of Kafka that speaks to the cluster; what it prints is dropped unless `more` says otherwise."""
        command = [KAFKA, "tool", "--dir", self.dir, name, "--bootstrap-server", self.server, *words]
        return subprocess.run(command, check=True, **{"stdout": subprocess.DEVNULL, **more})

    def log(self, topic):
        """The files of the only partition of `topic` as the broker has them, in their order."""
        return sorted((self.dir / "node1/data" / f"{topic}-0").glob("*.log"))


@contextlib.contextmanager
def fresh_cluster(version, port_base, settings=(), server=None):
    """Starts one node with these broker properties; it and its data are gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory) / "cluster"
        command = [KAFKA, "up", "--version", version, "--dir", directory, "--port-base", str(port_base)]
        for setting in settings:
            command += ["--set", setting]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        try:
            variables = dict(re.findall(r"export (\w+)=(\S+)", out))
            yield Cluster(directory, version, server or variables["KAFKA_BOOTSTRAP_PLAINTEXT"], variables)
        finally:
            subprocess.run([KAFKA, "down", "--rm", "--dir", directory], check=True)
