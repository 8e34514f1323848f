"""The settings: `config.toml` and environment variables, decoded strictly into one frozen struct.

The comments in `config.toml` describe every setting with its unit and the reason for its default. Settings are read
once at the start; a change needs a restart of the process.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from domain.call.record import CallRules
from domain.room.members import RoomRules
from domain.stream.record import StreamRules
from server.addresses import ForwardedHeader, Proxies, check_networks
from server.config.auth import AuthSettings
from server.config.environment import FILE_SUFFIX, SECRET_VARIABLES, nearest, unknown_variable
from server.config.packs import OverlaySettings, PackSettings, PaymentSettings, PayoutSettings, check_margin

Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Burst = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class ConfigError(Exception):
    """A setting or secret is invalid; the message is one line with its name and the reason, without a secret.

    The command line prints it and exits.
    """


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the settings; an unknown key is an error."""


class ServerSettings(Section, frozen=True):
    """The section `[server]`: data directory, leases, restarts of rooms, trusted proxies.

    Raises ValueError if checkpoints are rarer than leases end: a room that is adopted would lose more of its time.
    """

    data_dir: Annotated[str, msgspec.Meta(min_length=1)] = ".halfminute"
    drain_seconds: Positive = 15
    lease_seconds: Positive = 15
    checkpoint_seconds: Positive = 5
    restarts: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    restart_window_seconds: Positive = 60
    trusted_proxies: tuple[str, ...] = ()
    forwarded_header: ForwardedHeader = "x-forwarded-for"

    def __post_init__(self) -> None:
        check_networks(self.trusted_proxies)
        if self.checkpoint_seconds > self.lease_seconds:  # a room could be adopted before its clock was stored
            raise ValueError(
                f"checkpoint_seconds ({self.checkpoint_seconds:g}) must not exceed lease_seconds"
                f" ({self.lease_seconds:g})"
            )

    @property
    def proxies(self) -> Proxies:
        """Return the trusted proxies and the header that they set."""
        return Proxies(self.trusted_proxies, self.forwarded_header)


class HttpSettings(Section, frozen=True):
    """The section `[http]`: address, timeouts and limits of the REST port. Raises ValueError for an invalid origin."""

    listen: str = "127.0.0.1:8000"
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_048_576)] = 65_536
    answer_seconds: Positive = 10
    head_seconds: Positive = 10
    send_seconds: Positive = 10
    connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2000
    allowed_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, such as https://example.org")


class WebsocketSettings(Section, frozen=True):
    """The section `[websocket]`: address, timeouts and limits of the websocket port.

    A client that sends nothing is *silent* after `presence_seconds`, which stops meters, and is disconnected after
    `ping_timeout_seconds`. Its session can be resumed for `session_seconds` afterwards.
    """

    listen: str = "127.0.0.1:8001"
    public_url: str = ""
    handshake_seconds: Positive = 10
    open_seconds: Positive = 10
    heartbeat_seconds: Positive = 20
    party_heartbeat_seconds: Positive = 5
    presence_seconds: Positive = 10
    ping_timeout_seconds: Positive = 45
    close_seconds: Positive = 5
    session_seconds: Positive = 120
    max_frame_bytes: Annotated[int, msgspec.Meta(ge=1024, le=16_777_216)] = 65_536
    outbox_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=67_108_864)] = 1_048_576
    send_buffer_bytes: Annotated[int, msgspec.Meta(ge=4096, le=16_777_216)] = 131_072
    connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 20_000
    sessions_per_user: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    rooms_per_session: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    messages_per_second: Positive = 20
    messages_burst: Burst = 100

    def __post_init__(self) -> None:
        if self.public_url and not _WEBSOCKET_URL.fullmatch(self.public_url):
            raise ValueError(f"websocket.public_url {self.public_url!r} is not wss://HOST/PATH")


class LimitSettings(Section, frozen=True):
    """The section `[limits]`: rates and numbers beyond which requests are refused.

    A pair `…_per_second` and `…_burst` is a token bucket (see RateLimit). `exempt` networks are not counted.
    """

    address_per_second: Positive = 50
    address_burst: Burst = 500
    probes_per_second: Positive = 100
    probes_burst: Burst = 1000
    proofs_per_second: Positive = 1
    proofs_burst: Burst = 30
    user_per_second: Positive = 10
    user_burst: Burst = 60
    money_per_second: Positive = 1
    money_burst: Burst = 10
    handshakes_per_second: Positive = 50
    handshakes_burst: Burst = 1000
    joins_per_second: Positive = 1
    joins_burst: Burst = 60
    opens_per_second: Positive = 1
    opens_burst: Burst = 100
    streams_scheduled: Burst = 50
    streams_per_day: Burst = 200
    reports_per_day: Burst = 50
    purchases_pending: Burst = 20
    overlay_tokens_revoked: Burst = 100
    blocked_users: Burst = 10_000
    address_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] = 5
    exempt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_networks(self.exempt)


class PostgresSettings(Section, frozen=True):
    """The section `[postgres]`: the pool, and the binaries of a private PostgreSQL.

    The storage actor and the lease have connections of their own beside the pool.
    """

    bin_dir: str = ""
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 6


class RoomSettings(RoomRules, frozen=True, forbid_unknown_fields=True):
    """The section `[rooms]`: the rules of rooms, their inbox and their history of events."""

    inbox: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    history_events: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    history_seconds: Positive = 180


class MediaSettings(Section, frozen=True):
    """The section `[media]`: the STUN and TURN servers for clients; a TURN password is valid for `turn_seconds`."""

    stun_servers: tuple[str, ...] = ("stun:stun.l.google.com:19302",)
    turn_servers: tuple[str, ...] = ()
    turn_seconds: Positive = 3600


class ClusterSettings(Section, frozen=True):
    """The section `[cluster]`: what tells this cluster of servers from others that use the same broker."""

    name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,64}$")] = "halfminute"


class MetricsSettings(Section, frozen=True):
    """The section `[metrics]`: networks that may read the metrics without a token."""

    networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")

    def __post_init__(self) -> None:
        check_networks(self.networks)


class LogSettings(Section, frozen=True):
    """The section `[log]`; `auto` is `console` on a terminal and `json` otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(Section, frozen=True):
    """Every section of `config.toml`. Raises ValueError if users could make money by buying and cashing out tokens."""

    server: ServerSettings = ServerSettings()
    http: HttpSettings = HttpSettings()
    websocket: WebsocketSettings = WebsocketSettings()
    limits: LimitSettings = LimitSettings()
    postgres: PostgresSettings = PostgresSettings()
    auth: AuthSettings = AuthSettings()
    calls: CallRules = CallRules()
    streams: StreamRules = StreamRules()
    rooms: RoomSettings = RoomSettings()
    packs: PackSettings = PackSettings()
    payments: PaymentSettings = PaymentSettings()
    payouts: PayoutSettings = PayoutSettings()
    overlays: OverlaySettings = OverlaySettings()
    media: MediaSettings = MediaSettings()
    cluster: ClusterSettings = ClusterSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        check_margin(self.packs, self.payouts)

    @property
    def counted_by_address(self) -> tuple[float, tuple[str, ...]]:
        """Return the share of a port's connections that one address may hold, in percent, and the exempt networks."""
        return self.limits.address_percent, self.server.trusted_proxies + self.limits.exempt


def read_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of a file, or the defaults for None, overridden by variables `HALFMINUTE_<SECTION>_<KEY>`.

    The value of a variable is JSON (`["10.0.0.0/8"]`, `30`), or plain text for a setting that is text.
    Raises ConfigError for invalid values, and for unknown keys and variables, which would otherwise have no effect.
    """
    _refuse_unknown_variables(environment)
    sections = _read_file(path) if path is not None else {}
    overridden = {name: value for name, value in environment.items() if name in _OVERRIDES}
    for name, value in overridden.items():
        section, key, kind = _OVERRIDES[name]
        fields = sections.setdefault(section, {})
        if isinstance(fields, dict):
            fields[key] = value.strip() if kind == "text" else _from_json(value)
    try:
        return msgspec.convert(sections, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(_readable(error, path, overridden)) from None


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a variable with our prefix that is no setting and no secret, with the nearest name."""
    secrets = SECRET_VARIABLES.values()
    known = (*_OVERRIDES, *secrets, *(f"{name}{FILE_SUFFIX}" for name in secrets))
    name = unknown_variable(environment, known)
    if name is not None:
        like = nearest(name, known)
        raise ConfigError(f"{name} is no setting; " + (f"the nearest is {like}" if like else "they are in config.toml"))


def _read_file(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Raises ConfigError if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _from_json(value: str) -> Any:
    """Decode a variable as JSON; return other text unchanged, which the type of its setting then refuses."""
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


def _text(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.LiteralType)


def _overrides() -> dict[str, tuple[str, str, str]]:
    """The variable of each setting: its section, its key, and whether its value is plain `text` or `json`."""
    settings = msgspec.inspect.type_info(Settings)
    assert isinstance(settings, msgspec.inspect.StructType)
    return {
        f"HALFMINUTE_{section.name}_{field.name}".upper(): (
            section.name,
            field.name,
            "text" if _text(field.type) else "json",
        )
        for section in settings.fields
        if isinstance(section.type, msgspec.inspect.StructType)
        for field in section.type.fields
    }


def _readable(error: msgspec.ValidationError, path: Path | None, overridden: Mapping[str, str]) -> str:
    """Convert msgspec's "Object contains unknown field `x` - at `$.calls`" to a line with the file or variable."""
    text, _, place = str(error).partition(" - at `$")
    section, _, key = place.strip("`.").partition(".")
    variable = f"HALFMINUTE_{section}_{key}".upper().partition("[")[0]
    if variable in overridden:
        return f"{variable}: {text}"
    if (unknown := _UNKNOWN_KEY.fullmatch(text)) and (like := nearest(unknown[1], _keys_at(section, key))):
        text += f"; the nearest is `{like.lower()}`"
    return ": ".join(filter(None, (str(path or "settings"), f"[{section}] {key}".strip() if section else "", text)))


def _keys_at(section: str, key: str) -> list[str]:
    """Return the keys of a section, or the sections if it is empty, in upper case as `nearest` compares them."""
    if key:
        return []
    keys = [name for of, name, _ in _OVERRIDES.values() if of == section] if section else _SECTIONS
    return [name.upper() for name in keys]


_OVERRIDES = _overrides()
_SECTIONS = {section for section, _, _ in _OVERRIDES.values()}
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")  # as browsers send it
_WEBSOCKET_URL = re.compile(r"wss?://[^\s/?#@]+(/[^\s?#]*)?")
