"""The command line: what it prints, what it keeps, and one clear line for every mistake a newcomer makes."""

from typing import NamedTuple

from tests.clients import SECRET
from tests.processes import free_ports

SOMEBODY = "0190a000-0000-7000-8000-00000000abcd"
CLOSED_PORT = free_ports(1)[0]
NO_DATABASE = {"DATABASE_URL": f"postgresql://somebody:hunter2@127.0.0.1:{CLOSED_PORT}/calls"}
TAKEN = "127.0.0.1:{taken}"
UNREADABLE_URL = (
    "DATABASE_URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE;"
    " in a password, / ? # @ : are written %2F %3F %23 %40 %3A"
)

FILES = {
    "key.toml": "[calls]\nblok_seconds = 10\n",
    "section.toml": "[cals]\nblock_seconds = 10\n",
    "value.toml": "[calls]\nblock_seconds = 0\n",
    "kind.toml": "[calls]\nblock_seconds = 'ten'\n",
    "claim.toml": "[auth]\noperator_claim = 'user_metadata.role'\n",
    "listen.toml": "[http]\nlisten = '8000'\n",
    "text.toml": "block seconds: 10\n",
}


class Mistake(NamedTuple):
    """What somebody types, and the one line that comes of it."""

    words: str
    line: str
    settings: dict[str, str] = {}
    exit_code: int = 1


MISTAKES = {
    "an unknown command": Mistake(
        "srve", 'Unknown command "srve". Did you mean "serve"? Available commands: serve, migrate, token, audit, demo-call.', {}, 2
    ),
    "an unknown option": Mistake("serve --confg x", "Unknown option: --confg. Did you mean --config?", {}, 2),
    "an option without its value": Mistake("serve --http", 'Command "serve" parameter --http requires an argument.', {}, 2),
    "a token for nobody": Mistake("token", 'Command "token" parameter --sub requires an argument.', {}, 2),
    "a user who is no UUID": Mistake(
        "token --sub finn", 'Invalid value for --sub: unable to convert "finn" into UUID.', {}, 2
    ),
    "a token that never holds": Mistake(f"token --sub {SOMEBODY} --ttl 0", "--ttl must be at least 1 second"),
    "an address that is none": Mistake("serve --http nonsense", "'nonsense' is not HOST:PORT"),
    "a port that is none": Mistake("serve --ws 127.0.0.1:70000", "'127.0.0.1:70000' is not HOST:PORT"),
    "an address in the settings that is none": Mistake("serve --config listen.toml", "'8000' is not HOST:PORT"),
    "a missing file": Mistake("serve --config no.toml", "no.toml cannot be read: No such file or directory"),
    "a directory for a file": Mistake("serve --config .", ". cannot be read: Is a directory"),
    "a file that is no TOML": Mistake(
        "serve --config text.toml",
        "text.toml is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 7)",
    ),
    "a misspelt key": Mistake(
        "serve --config key.toml", "key.toml: [calls]: Object contains unknown field `blok_seconds`"
    ),
    "a misspelt section": Mistake("audit --config section.toml", "section.toml: Object contains unknown field `cals`"),
    "a value out of range": Mistake(
        "serve --config value.toml", "value.toml: [calls] block_seconds: Expected `int` >= 1"
    ),
    "a value of another kind": Mistake(
        "migrate --config kind.toml", "kind.toml: [calls] block_seconds: Expected `int`, got `str`"
    ),
    "an unsafe value": Mistake(
        "serve --config claim.toml",
        "claim.toml: [auth]: auth.operator_claim must not be under user_metadata: users can write that themselves",
    ),
    "a bad override": Mistake(
        "serve",
        "HALFMINUTE_CALLS_BLOCK_SECONDS: Expected `int`, got `str`",
        {"HALFMINUTE_CALLS_BLOCK_SECONDS": "ten"},
    ),
    "a misspelt override": Mistake(
        "serve",
        "HALFMINUTE_CALLS_BLOK_SECONDS is no setting; they are all in config.toml",
        {"HALFMINUTE_CALLS_BLOK_SECONDS": "10"},
    ),
    "a short secret for tokens": Mistake(
        "serve",
        "HALFMINUTE_JWT_SECRET has 9 characters; at least 32 are needed",
        {"HALFMINUTE_JWT_SECRET": "swordfish"},
    ),
    "a short secret for the webhook": Mistake(
        "serve",
        "BILLING_WEBHOOK_SECRET has 9 characters; at least 32 are needed",
        {"BILLING_WEBHOOK_SECRET": "swordfish"},
    ),
    "a database without a secret": Mistake(
        "serve",
        "with DATABASE_URL set, set HALFMINUTE_JWT_SECRET too, or auth.algorithms and a JWKS in the settings",
        NO_DATABASE,
    ),
    "a database that is not there": Mistake(
        "serve --http 127.0.0.1:0 --ws 127.0.0.1:0",
        f"the database is out of reach: Connect call failed ('127.0.0.1', {CLOSED_PORT})",
        {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET},
    ),
    "books that are not there": Mistake(
        "audit", f"the database is out of reach: Connect call failed ('127.0.0.1', {CLOSED_PORT})", NO_DATABASE
    ),
    "a database on a host that is not there": Mistake(
        "migrate",
        "the database is out of reach: Name or service not known",
        {"DATABASE_URL": "postgresql://somebody:hunter2@database.invalid/calls"},
    ),
    "another kind of database": Mistake("migrate", UNREADABLE_URL, {"DATABASE_URL": "mysql://somebody@localhost/calls"}),
    "a password with a slash in it": Mistake(
        "migrate", UNREADABLE_URL, {"DATABASE_URL": "postgresql://somebody:hun/ter2@localhost/calls"}
    ),
    "a data directory that cannot be": Mistake(
        "serve --data /proc/data", "cannot keep secrets in /proc/data/secrets: No such file or directory"
    ),
    "a data directory that is a file": Mistake(
        "audit --data key.toml", "cannot use the data directory {cwd}/key.toml: File exists"
    ),
    "books that were never begun": Mistake("audit --data nothing", "there are no books in nothing: no server has run there"),
    "a server that is not there": Mistake(
        f"demo-call --http 127.0.0.1:{CLOSED_PORT}",
        f"no halfminute server answers at http://127.0.0.1:{CLOSED_PORT}: Connection refused",
    ),
    "a taken port for REST": Mistake(
        f"serve --http {TAKEN} --ws 127.0.0.1:0",
        f"cannot listen on {TAKEN}: Address already in use",
        {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET},
    ),
    "a taken port for the websocket": Mistake(
        f"serve --http 127.0.0.1:0 --ws {TAKEN}",
        f"cannot listen on {TAKEN}: Address already in use",
        {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET},
    ),
}
