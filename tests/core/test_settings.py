"""Settings: which source wins, what is refused and how it is said, and what is never shown."""

from __future__ import annotations

import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.errors import Problem, Unusable, WrongUsage
from fedtui.core.runtime import durations, settings, urls
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.settings import MASK, Settings

SECRET = "s3cret-worker-token"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def load(home: Path, config: str = "", environment: dict[str, str] | None = None, **options: object) -> Settings:
    (home / "config.toml").write_text(config, encoding="utf-8")
    return settings.load({"FEDTUI_HOME": str(home), **(environment or {})}, options)


def row(loaded: Settings, key: str) -> dict[str, str]:
    return next(row for row in loaded.rows() if row["key"] == key)


def refusal(home: Path, config: str = "", environment: dict[str, str] | None = None, **options: object) -> Problem:
    with pytest.raises(WrongUsage) as raised:
        load(home, config, environment, **options)
    return raised.value


@pytest.mark.parametrize(
    ("config", "environment", "option", "value", "origin"),
    [
        ("", {}, None, "1m", "default"),
        ("heartbeat_interval = 7", {}, None, "7s", "config.toml"),
        ("heartbeat_interval = '7s'", {"FEDTUI_HEARTBEAT_INTERVAL": "8s"}, None, "8s", "environment"),
        ("heartbeat_interval = '7s'", {"FEDTUI_HEARTBEAT_INTERVAL": "8s"}, "9s", "9s", "option"),
        ("heartbeat_interval = '7s'", {"FEDTUI_HEARTBEAT_INTERVAL": ""}, None, "7s", "config.toml"),
    ],
)
def test_sources_in_rising_order(
    home: Path, config: str, environment: dict[str, str], option: str | None, value: str, origin: str
) -> None:
    """Option beats environment beats config.toml beats default, and the row says which it was."""
    loaded = load(home, config, environment, heartbeat_interval=option)
    assert (row(loaded, "heartbeat_interval")["value"], row(loaded, "heartbeat_interval")["origin"]) == (value, origin)
    assert loaded.heartbeat_interval == durations.parse(value)


@pytest.mark.parametrize(
    ("config", "near"),
    [("heartbeat_intervall = '5s'", "heartbeat_interval"), ("listn = 'x'", "listen"), ("frobnicate = true", None)],
)
def test_unknown_key_names_the_nearest(home: Path, config: str, near: str | None) -> None:
    """A key that is not a setting is refused with its source and, where one is near, the likely meant one."""
    problem = refusal(home, config)
    assert problem.code == "setting_unknown"
    assert "config.toml" in problem.problem
    assert config.split(" ")[0] in problem.problem
    assert (near is None) == ("Did you mean" not in problem.cause)
    assert near is None or repr(near) in problem.cause


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("heartbeat_interval", "soon"),
        ("heartbeat_interval", "0s"),
        ("heartbeat_interval", "999999999d"),
        ("stale_after", "1s"),
        ("outbound_concurrency", "many"),
        ("outbound_concurrency", "0"),
        ("outbound_concurrency", "1" * 40),
        ("body_bytes", "1.5"),
        ("platform_version", "1" * 2049),
        ("extension_slugs", "a," * 9000),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_bad_value_names_key_and_source(home: Path, key: str, value: str) -> None:
    """A value that cannot be is refused naming key, value and source, wherever it came from."""
    for source, problem in (
        ("config.toml", refusal(home, f"{key} = {value!r}")),
        ("environment", refusal(home, "", {f"FEDTUI_{key.upper()}": value})),
        ("option", refusal(home, "", {}, **{key: value})),
    ):
        assert problem.code == "setting_invalid"
        assert problem.problem.startswith(f"{source}: {key} cannot be {value!r}")
        assert key in problem.fix


@pytest.mark.parametrize(
    "config",
    [
        "heartbeat_interval = true",
        "heartbeat_interval = -5",
        "heartbeat_interval = 99999999999999999999999",
        "connections = true",
        "connections = 2.5",
        "listen = 8443",
        "extension_slugs = ['a', 'b']",
        "[listen]\nhost = 'x'",
    ],
)
def test_bad_toml_types_are_refused(home: Path, config: str) -> None:
    """TOML can say what no setting is: such a value is refused, not turned into text or a traceback."""
    assert refusal(home, config).code == "setting_invalid"


def test_a_bad_secret_is_not_repeated(home: Path) -> None:
    """Refusing a secret's value does not print it, neither in the message nor in a traceback."""
    number = 12345_67890
    with pytest.raises(WrongUsage) as raised:
        load(home, f"worker_token = {number}")
    said = "".join(traceback.format_exception(raised.value)) + str(raised.value.as_dict())
    assert "worker_token" in said
    assert MASK in said
    assert str(number) not in said


def test_rows_and_repr_mask_secrets(home: Path) -> None:
    """`fedtui config` and the settings' own repr show that a secret is set, never what it is."""
    url = f"postgresql+psycopg://fedtui:{SECRET}@db/fedtui"
    loaded = load(home, f"worker_token = '{SECRET}'", {"FEDTUI_DATABASE_URL": url})
    assert loaded.worker_token == SECRET
    assert row(loaded, "worker_token") | {"help": ""} == {
        "key": "worker_token",
        "value": MASK,
        "origin": "config.toml",
        "help": "",
    }
    assert row(loaded, "database_url")["value"] == MASK
    assert row(load(home), "worker_token")["value"] == ""
    assert SECRET not in repr(loaded) + str(loaded.rows())


@pytest.mark.parametrize("content", [b"listen = ", b"\xff\xfe", b"listen = 'a'\nlisten = 'b'"])
def test_unreadable_config_is_named(home: Path, content: bytes) -> None:
    """A config.toml that is not TOML is refused by its path."""
    (home / "config.toml").write_bytes(content)
    with pytest.raises(WrongUsage) as raised:
        settings.load({"FEDTUI_HOME": str(home)})
    assert raised.value.code == "config_invalid"
    assert str(home / "config.toml") in raised.value.problem


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    """FEDTUI_HOME pointing at a file is the node's problem, not a traceback."""
    (tmp_path / "home").write_text("")
    with pytest.raises(Unusable, match=r"home/config\.toml cannot be opened"):
        settings.load({"FEDTUI_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize("name", ["plain", "with space", "q?x=1", "frag#ment", "per%20cent", "ü@:home"])
def test_the_built_in_database_is_in_the_home(tmp_path: Path, name: str) -> None:
    """Whatever characters the home's path has, the SQLite file is the one inside it."""
    loaded = settings.load({"FEDTUI_HOME": str(tmp_path / name)})
    assert Database(loaded.resolved_database_url).file == tmp_path / name / "fedtui.db"


@pytest.mark.parametrize(
    ("url", "code"), [("nonsense", "database_url_invalid"), ("mysql9://x/y", "database_url_invalid")]
)
def test_an_unusable_database_url_is_refused_without_showing_it(url: str, code: str) -> None:
    """A database URL that names no known driver is wrong usage, and is not repeated."""
    with pytest.raises(WrongUsage) as raised:
        Database(f"{url}?password={SECRET}")
    assert raised.value.code == code
    assert SECRET not in str(raised.value.as_dict())


@given(st.integers(0, 36_525 * 86_400))
def test_durations_round_trip(seconds: int) -> None:
    """What `show` prints, `parse` reads back to the same duration."""
    span = timedelta(seconds=seconds)
    assert durations.parse(durations.show(span)) == span


@given(st.text(max_size=12) | st.from_regex(r"\s*-?\d{0,14}[smhdwy]?\s*", fullmatch=True))
def test_durations_refuse_or_read(text: str) -> None:
    """Any text is either a duration of at most a hundred years or refused by name."""
    try:
        assert timedelta(0) <= durations.parse(text, field="ttl") <= timedelta(days=36_525)
    except WrongUsage as problem:
        assert problem.code == "duration_invalid"
        assert problem.problem.startswith("ttl: ")


@pytest.mark.parametrize(
    "place", ["", "8443", ":8443", "h:", "h:http", "h:65536", "h:-1", "h:+1", "h:8_443", "h:\uff18\uff14", "h:\u00b2"]
)
def test_what_is_no_place_to_listen_is_refused(place: str) -> None:
    """A port is ASCII digits within its range: those of other scripts, and superscripts, are none."""
    with pytest.raises(WrongUsage) as refused:
        urls.split_listen(place)
    assert (refused.value.code, bool(refused.value.fix)) == ("listen_invalid", True)


def test_a_place_to_listen_is_host_and_port() -> None:
    """An address of IPv6 stands in brackets."""
    assert urls.split_listen("127.0.0.1:0") == ("127.0.0.1", 0)
    assert urls.split_listen("[::]:65535") == ("::", 65_535)
