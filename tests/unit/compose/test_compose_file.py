"""docker-compose.yml is what the Compose specification and our own parsers accept.

No container engine runs here. The schema of the specification comes with `check-jsonschema`.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tidemill.commands.catalogue import BY_NAME
from tidemill.commands.processes import MODULES
from tidemill.main import make_app
from tidemill.store_address import PASSWORD, store_address

ROOT = Path(__file__).parents[3]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SENTINEL = "--no-such-option"


def schema() -> dict[str, Any]:
    brings_it = metadata.distribution("check-jsonschema")
    file = brings_it.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    return json.loads(Path(str(file)).read_text())


def complaints(file: dict[str, Any]) -> list[str]:
    found = schema()
    validator = jsonschema.validators.validator_for(found, jsonschema.Draft7Validator)(found)
    return [error.json_path for error in validator.iter_errors(file)]


def refused_words(command: list[str]) -> str:
    """What the program's own parser says of a command; empty if it takes every word of it."""
    name, *words = command
    if not BY_NAME[name].passed_on:
        try:
            make_app().parse_args(command)
        except Exception as error:
            return str(error)
        return ""
    done = subprocess.run(
        [sys.executable, "-m", MODULES[name], *words, SENTINEL],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    expected = f"unrecognized arguments: {SENTINEL}"
    return "" if done.returncode == 2 and last.endswith(expected) else last


def option(service: str, name: str) -> str:
    return next(w.split("=", 1)[1] for w in OURS[service]["command"] if w.startswith(f"{name}="))


def test_the_file_is_valid_by_the_compose_specification():
    assert complaints(FILE) == []


@pytest.mark.parametrize(
    "mistake",
    [{"healthchek": {}}, {"ports": "9092"}, {"depends_on": {"store": {"condition": "well"}}}],
)
def test_a_mistake_is_seen_by_the_schema(mistake: dict[str, Any]):
    broken = copy.deepcopy(FILE)
    broken["services"]["broker"] |= mistake
    assert complaints(broken)


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_what_their_own_parsers_take(name: str):
    assert refused_words(OURS[name]["command"]) == ""


@pytest.mark.parametrize(
    "command",
    [
        ["broker", "--data=d", "--prt=1"],
        ["edge", "--port=high"],
        ["init", "--dat=d"],
        ["worker", "--number=one"],
    ],
)
def test_a_wrong_option_is_seen_by_the_parsers(command: list[str]):
    assert refused_words(command)


def test_every_process_of_the_stack_is_there():
    commands = {service["command"][0] for service in OURS.values()}
    assert commands == {"broker", "init", "edge", "worker", "host"}
    assert {"store", "kafka"} == SERVICES.keys() - OURS.keys()


def test_the_log_is_our_broker_or_kafka_under_one_name():
    dotenv = (ROOT / ".env").read_text()
    assert "\nCOMPOSE_PROFILES=broker\n" in dotenv
    assert SERVICES["broker"]["profiles"] == ["broker"]
    assert SERVICES["kafka"]["profiles"] == ["kafka"]
    for name in ("broker", "kafka"):
        assert SERVICES[name]["networks"]["default"]["aliases"] == ["log"]
    assert option("broker", "--advertised-host") == "log"
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    where = f"log:{option('broker', '--port')}"
    assert advertised == f"PLAINTEXT://{where}"
    assert option("init", "--bootstrap") == option("edge", "--bootstrap") == where
    for waits in OURS["init"]["depends_on"].values():
        assert waits["required"] is False, "only one of the two is started"


def test_workers_reach_the_store_as_the_user_it_makes():
    address = store_address(option("init", "--store-url"))
    assert address.host in SERVICES
    assert address.user == SERVICES["store"]["environment"]["CLICKHOUSE_USER"]
    for name in ("worker-0", "worker-1"):
        assert OURS[name]["environment"].keys() == {PASSWORD}
        given = SERVICES["store"]["environment"]["CLICKHOUSE_PASSWORD"]
        assert OURS[name]["environment"][PASSWORD] == given


def test_workers_read_the_settings_that_init_writes():
    data = option("init", "--data")
    for number, name in enumerate(("worker-0", "worker-1")):
        assert option(name, "--settings") == f"{data}/settings.json"
        assert option(name, "--number") == str(number)
        assert f"state:{data}" in OURS[name]["volumes"]
    definitions = option("init", "--definitions")
    for name in ("init", "worker-0", "worker-1"):
        assert f"./definitions:{definitions}:ro" in OURS[name]["volumes"]


def test_an_edge_in_a_container_lets_nobody_in_without_a_token():
    assert option("edge", "--host") == "0.0.0.0"
    assert "--no-anonymous" in OURS["edge"]["command"]
    assert option("edge", "--tokens") == "/run/secrets/edge-tokens"
    assert OURS["edge"]["secrets"] == ["edge-tokens"]
    variable = option("host", "--token-variable")
    assert OURS["host"]["environment"].keys() == {variable}


def test_nothing_listens_beyond_this_machine():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_nobody_is_root_and_our_file_systems_are_read_only():
    for name, service in SERVICES.items():
        assert service["user"] not in ("root", "0", "0:0"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
    for name, service in OURS.items():
        assert service["read_only"] is True, name
        assert service["user"] == "10001:10001", name


def test_what_serves_has_a_health_check_at_the_port_it_was_given():
    for name in SERVICES.keys() - {"init", "host"}:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
    ports = {
        "broker": option("broker", "--metrics-port"),
        "edge": option("edge", "--port"),
        "worker-0": "6066",
        "worker-1": "6067",
    }
    for name, port in ports.items():
        script = OURS[name]["healthcheck"]["test"][-1]
        assert f"http://127.0.0.1:{port}/" in script
        compile(script, name, "exec")


def test_images_are_pinned_and_named_without_a_registry():
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = [service["image"] for service in SERVICES.values()]
    for image in images + re.findall(r"^FROM (\S+)", dockerfile, re.M):
        name, _, tag = image.partition(":")
        assert re.search(r"\d+\.\d+", tag), f"{image} is not pinned"
        assert "." not in name.split("/")[0], f"{image} names a registry"


def test_secrets_are_asked_for_and_not_held():
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        if re.search(r"(PASSWORD|TOKEN)\w*:", line):
            assert re.search(r": \$\{\w+:[?-]", line), line
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "secrets/" in ignored
    assert "secrets" in (ROOT / ".dockerignore").read_text().split()


def test_what_is_mounted_and_waited_for_exists():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in FILE["volumes"], (name, volume)
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)


def test_the_image_holds_every_package_and_runs_as_nobody():
    dockerfile = (ROOT / "Dockerfile").read_text()
    pyproject = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"^packages = \[(.*)\]", pyproject, re.M)
    assert packages
    for package in re.findall(r'"(\w+)"', packages[1]):
        assert f"COPY {package} {package}\n" in dockerfile
    assert re.findall(r"^USER (.*)", dockerfile, re.M) == ["10001:10001"]
    assert "RUN tidemill warm" in dockerfile
    assert os.access(ROOT / "requirements.lock", os.R_OK)
