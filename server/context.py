"""Composition root: builds and holds the services of one server.

The constructor is the only place where services are connected to each other, so its order shows all dependencies.
`app.py` starts their tasks. Connections, requests and maintenance receive the context; the services themselves do not.
"""

import trio

from server.access.export_slots import ExportSlots
from server.access.ice import IceServers
from server.access.rate_limits import RateLimits
from server.access.tokens import TokenVerifier
from server.access.user_cache import UserCache
from server.broadcast.idle_sockets import IdleSockets
from server.changes.posting_feed import PostingFeed
from server.changes.user_changes import UserChanges
from server.changes.wallet_events import WalletEvents
from server.clock import Clock
from server.cluster.bus import Bus, NoBus
from server.cluster.nats_bus import NatsBus
from server.cluster.requests import Requests
from server.config.broker_addresses import read_broker_addresses
from server.config.secrets import Secrets
from server.config.settings import Settings
from server.config.time_zones import TimeZones
from server.ids import new_uuid
from server.money.payments.service import PaymentService
from server.money.payouts import Payouts
from server.money.ticket_settlement import Tickets
from server.observability.faults import Faults
from server.observability.memory_limit import MemoryLimit
from server.observability.metrics import Metrics
from server.rooms.factory import RoomFactory
from server.rooms.kinds.call import CallKind
from server.rooms.kinds.stream import StreamKind
from server.rooms.leases.absent_rooms import AbsentRooms
from server.rooms.leases.adoption import Adoption
from server.rooms.leases.lease import Lease
from server.rooms.leases.orphans import Orphans
from server.rooms.lifecycle import RoomLifecycle
from server.rooms.registry import Registry
from server.rooms.supervisor import Supervisor
from server.sessions.authenticator import Authenticator
from server.sessions.bans import Bans
from server.sessions.call_commands import CallCommands
from server.sessions.directory import Sessions
from server.sessions.online_creators import OnlineCreators
from server.sessions.room_commands import RoomCommands
from server.sessions.stall_recovery import StallRecovery
from storage.ledger.actor import StorageActor
from storage.postgres import Postgres
from storage.rooms.leases import Leases


class Context:
    """The services of one server, built once at its start. A service may use only those that are built before it.

    Holds three facts that change. `draining` is true once the server refuses new calls. `http_closing` is set when the
    HTTP server must stop accepting, after the rooms have drained. The two port numbers are 0 until the sockets listen.
    The constructor starts no task; `rooms_nursery` is handed to the registry, which starts the task
    of each room in it. Raises ValueError if the secret of HS256 is missing or unsafe.
    """

    def __init__(self, settings: Settings, secrets: Secrets, postgres: Postgres, rooms_nursery: trio.Nursery) -> None:
        self.settings = settings
        self.secrets = secrets
        self.draining = False
        self.http_closing = trio.Event()
        self.clock = Clock()
        self.metrics = Metrics()
        self.faults = Faults(self.metrics)
        self.memory = MemoryLimit()
        self.verifier = TokenVerifier(settings.auth, secret=secrets.jwt_secret)
        self.rate_limits = RateLimits(settings.limits)
        self.exports = ExportSlots()
        # storage
        self.postgres = postgres
        self.time_zones = TimeZones(postgres)
        self.leases = Leases(postgres, new_uuid(), settings.server.lease_seconds)
        # users and sessions
        self.idle_sockets = IdleSockets()
        self.user_cache = UserCache(postgres)
        self.sessions = Sessions(settings.websocket)
        self.online_creators = OnlineCreators(postgres, self.sessions)
        supervisor = Supervisor(
            settings.server.restarts, settings.server.restart_window_seconds, self.metrics, self.faults
        )
        self.registry = registry = Registry(rooms_nursery, supervisor, self.metrics, self.faults)
        self.bus = _open_bus(settings, secrets, self.metrics, self.faults)
        self.requests = Requests(self.bus, self.leases.server_id, self.faults)
        feed = PostingFeed(self.bus)
        self.wallet_events = WalletEvents(self.metrics, self.sessions, registry, self.faults, feed)
        feed.follow(self.wallet_events.committed_elsewhere)
        self.user_changes = UserChanges(self.user_cache, self.sessions, registry, self.bus)
        self.actor = StorageActor(postgres, self.wallet_events)
        self.tickets = Tickets(postgres, self.actor, settings.streams)
        self.metrics.watch(
            connections=lambda: self.sessions.connected,
            commit_retries=lambda: self.actor.commit_retries,
            clock_refusals=lambda: self.actor.clock_refusals,
            asyncio_errors=lambda: postgres.unhandled.count,
            failed_key_reads=lambda: self.verifier.failed_key_reads,
            ready=lambda: self._is_ready,
        )
        # rooms
        self.lease = Lease(self.leases, registry)
        self.room_factory = RoomFactory(
            postgres,
            self.actor,
            self.lease,
            registry,
            self.sessions,
            self.metrics,
            self.clock,
            settings.rooms,
            self.faults,
            self.tickets,
        )
        self.stall_recovery = StallRecovery(
            self.clock.stalls,
            self.sessions,
            registry,
            self.metrics,
            self.faults,
            settings.websocket.presence_seconds,
        )
        calls = CallKind(postgres, self.sessions, settings.calls, settings.rooms)
        streams = StreamKind(postgres, self.sessions, self.tickets, settings.streams, settings.rooms)
        services = (self.room_factory, self.leases, registry, self.sessions, postgres)
        self.call_rooms = RoomLifecycle(calls, *services)
        self.stream_rooms = RoomLifecycle(streams, *services)
        self.adoption = Adoption(registry, self.call_rooms, self.stream_rooms, self.faults, settings.server.restarts)
        self.orphans = Orphans(self.leases, self.adoption, is_draining=lambda: self.draining)
        # commands and access
        self.ice = IceServers(settings.media, secrets.turn_secret, self.clock)
        self.absent_rooms = AbsentRooms(self.leases)
        self.call_commands = CallCommands(postgres, registry, self.absent_rooms)
        per_session = settings.websocket.rooms_per_session
        self.room_commands = RoomCommands(
            postgres, registry, self.sessions, self.call_commands, self.absent_rooms, per_session
        )
        self.bans = Bans(postgres, registry, self.sessions, self.clock)
        self.authenticator = Authenticator(self.verifier, postgres, self.user_cache, self.bans, self.clock)
        # payments and payouts
        self.payouts = Payouts(postgres, self.actor, settings.payouts)
        self.payments = PaymentService(
            postgres,
            self.actor,
            self.metrics,
            settings.payments,
            secrets.stripe_secret_key,
            secrets.stripe_webhook_secret,
        )
        self.http_port = 0
        self.websocket_port = 0

    @property
    def _is_ready(self) -> bool:
        """Whether this server can take work, as far as it is known without asking the database."""
        return self.registry.is_open and not (
            self.draining or self.lease.is_late or self.actor.away_seconds or self.actor.finished.is_set()
        )


def _open_bus(settings: Settings, secrets: Secrets, metrics: Metrics, faults: Faults) -> Bus:
    """Return the bus to the other servers, which needs a broker; its task is not started yet."""
    if secrets.nats_url is None:
        return NoBus()
    return NatsBus(read_broker_addresses(secrets.nats_url), settings.cluster.name, metrics, faults)
