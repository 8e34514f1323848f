"""The guards of the process itself: its log, its settings, its secrets, its sockets; and the tests that need them."""

from tests.mutation.bugs import Bug, Edit

OUTPUT, LOG, CLI = "server/observability/background_output.py", "server/observability/logs.py", "server/cli/main.py"
OUTPUT_TESTS, LINE_TESTS = (
    "tests/server/observability/test_background_output.py",
    "tests/server/observability/test_log_lines.py",
)
LISTENER, LISTENING_TESTS = "server/gateway/listener.py", "tests/server/gateway/test_listening.py"
ADDRESSES, ADDRESS_TESTS = "server/addresses.py", "tests/server/rest/test_websocket_address.py"
DRAIN_TESTS = "tests/server/cli/test_drain.py"
JWKS_TESTS = "tests/server/access/test_jwks.py"
SECRET_TESTS = "tests/server/config/test_secrets.py"
SECRETS = "server/config/secrets.py"
CONFIG, ENVIRONMENT, CLI_TESTS = (
    "server/config/settings.py",
    "server/config/environment.py",
    "tests/server/cli/test_cli.py",
)
UNREAD_TESTS = "tests/server/observability/test_unread_log.py"
FAILING = "\n            self._failing = True"

IN_PROCESS = (
    Bug(
        "log-bound",
        "the queue of log lines is bounded",
        "an unread log fills the memory",
        (Edit(OUTPUT, " or self._waiting.qsize() >= MAX_WAITING_LINES:", ":"),),
        f"{OUTPUT_TESTS}::test_while_nobody_reads_lines_are_dropped_and_counted_and_the_writer_never_waits",
        "assert ((2 * 2048)",
        "no line is dropped",
    ),
    Bug(
        "log-thread",
        "log lines are written by a thread",
        "an unread log stops the server before it is ready",
        (Edit(OUTPUT, "self._waiting.put(self._encoded(line))", "self._write_lines([self._encoded(line)])"),),
        f"{UNREAD_TESTS}::test_a_log_that_is_not_written_costs_no_answer_no_block_and_no_tip[nobody reads]",
        "a server that is ready",
        "the server is never ready",
    ),
    Bug(
        "log-refused",
        "a write error of a log descriptor costs one line only",
        "the first write error ends the log for good",
        (
            Edit(
                OUTPUT,
                "except OSError:\n            self._failing",
                "except ZeroDivisionError:\n            self._failing",
            ),
        ),
        f"{OUTPUT_TESTS}::test_without_any_reader_lines_are_dropped_and_counted",
        "ten dropped lines",
        "no lost line is counted",
    ),
    Bug(
        "log-total",
        "an event that cannot be rendered is logged without its fields",
        "an unusual value in a log event raises in the code that logs",
        (
            Edit(
                LOG, "except Exception as error:  # reason: a caller", "except ZeroDivisionError as error:  # a caller"
            ),
        ),
        f"{LINE_TESTS}::test_a_processor_that_raises_costs_the_fields_and_not_the_caller",
        "KeyError",
        "the renderer's error reaches the code that logs",
    ),
    Bug(
        "descriptors",
        "/dev/null replaces closed standard streams",
        "a socket becomes descriptor 2, and a library prints to a client",
        (Edit(CLI, "    secure_standard_streams()\n", ""),),
        f"{UNREAD_TESTS}::test_a_server_starts_and_stops_without_standard_streams[(1, 2)]",
        "AssertionError",
        "a different file has descriptor 1 or 2",
    ),
    Bug(
        "unknown-variable",
        "an unknown HALFMINUTE_ variable stops the start",
        "a misspelt setting keeps its default without an error",
        (Edit(CONFIG, "    _refuse_unknown_variables(environment)\n", ""),),
        "tests/server/cli/test_settings_sources.py::test_an_error_in_the_environment_is_named_by_its_variable",
        "DID NOT RAISE",
        "the settings are accepted",
    ),
    Bug(
        "service-link",
        "the variables that Kubernetes sets for a service named halfminute are ignored",
        "no server starts in a namespace with such a service",
        (Edit(ENVIRONMENT, "if not is_service_link(name, value):", "if True:"),),
        "tests/server/cli/test_settings_sources.py::test_the_variables_that_kubernetes_sets_for_its_services_are_neither_settings_nor_mistakes",
        "is no setting",
        "its variables are refused",
    ),
    Bug(
        "secret-ends",
        "white space around a secret is removed",
        "after a secret that ends with a newline, no token is valid",
        (Edit(SECRETS, "secret = text.strip()", "secret = text"),),
        f"{SECRET_TESTS}::test_a_secret_of_white_space_alone_counts_as_absent",
        "ConfigError",
        "the newline is refused as part of the secret",
    ),
    Bug(
        "secret-text",
        "a secret with a line break in it is refused",
        "tokens, the cron or purchases fail, long after the start",
        (Edit(SECRETS, "if any(unicodedata.category(letter)", "if False and any(unicodedata.category(letter)"),),
        f"{SECRET_TESTS}::test_a_secret_with_invalid_characters_is_refused_by_name",
        "DID NOT RAISE",
        "the secret is accepted",
    ),
    Bug(
        "jwks-empty",
        "a JWKS without a usable key keeps the previous keys",
        "an issuer's empty response invalidates every token",
        (Edit("server/access/jwks.py", "            if not keys:\n", "            if False:\n"),),
        f"{JWKS_TESTS}::test_a_document_without_a_good_key_changes_nothing_and_is_logged_and_counted[no keys]",
        "AssertionError",
        "the key is gone",
    ),
    Bug(
        "hangup",
        "a closed terminal drains the server",
        "calls end without a drain, and their active time is lost",
        (Edit("server/cli/serve.py", "[signal.SIGTERM, signal.SIGINT, *hangup]", "[signal.SIGTERM, signal.SIGINT]"),),
        f"{DRAIN_TESTS}::test_the_end_of_its_terminal_drains_a_server_that_prints_there",
        "AssertionError",
        "SIGHUP kills the server",
    ),
    Bug(
        "nohup",
        "a server under nohup ignores SIGHUP",
        "nohup has no effect",
        (Edit("server/cli/serve.py", "signal.getsignal(signal.SIGHUP) is signal.SIG_IGN", "False"),),
        f"{DRAIN_TESTS}::test_a_server_under_nohup_outlives_its_terminal",
        "test_a_server_under_nohup_outlives_its_terminal",
        "the server drains",
    ),
    Bug(
        "stop-start",
        "a signal stops a server that is still starting",
        "a server that waits for its database ignores signals",
        (Edit("server/cli/serve.py", "                self.starting.cancel()", "                pass"),),
        f"{DRAIN_TESTS}::test_a_server_that_still_waits_for_its_database_stops_at_once[SIGTERM]",
        "assert",
        "it ends later, with the exit code of a failure",
    ),
    Bug(
        "both-families",
        "a listener on localhost listens on IPv4 and IPv6",
        "a client that tries ::1 first is refused",
        (Edit(LISTENER, 'LOOPBACK = ("127.0.0.1", "::1")', 'LOOPBACK = ("127.0.0.1",)'),),
        f"{LISTENING_TESTS}::test_localhost_answers_in_both_families_on_the_ports_of_its_greeting",
        "ConnectError",
        "::1 refuses the connection",
    ),
    Bug(
        "one-port",
        "both address families use the same chosen port",
        "the greeting names a port that one family does not listen on",
        (Edit(LISTENER, "port = listening[0].getsockname()[1]\n", "pass\n"),),
        f"{LISTENING_TESTS}::test_with_port_0_both_families_have_one_port",
        "Extra items in the left set",
        "there are two ports",
    ),
    Bug(
        "brackets",
        "an IPv6 host is in brackets in a URL",
        "the URL in the greeting is invalid",
        (Edit("server/config/listen_address.py", 'f"[{self.host}]" if ":" in self.host else self.host', "self.host"),),
        f"{LISTENING_TESTS}::test_an_ipv6_address_is_greeted_in_brackets_and_works_as_printed",
        "AssertionError",
        "the URL is http://::1:PORT",
    ),
    Bug(
        "proxys-word",
        "forwarded headers count only from a trusted proxy",
        "any client's header decides which websocket URL clients receive",
        (Edit(ADDRESSES, "if not is_within(peer, proxies.trusted):", "if False:"),),
        f"{ADDRESS_TESTS}::test_a_peer_that_is_not_trusted_changes_nothing",
        "AssertionError",
        "a stranger's host is accepted",
    ),
    Bug(
        "outermost-proxy",
        "of several proxies the outermost one's header counts",
        "clients receive the URL of an inner proxy, without TLS",
        (
            Edit(
                ADDRESSES, "    for position, hop in enumerate(hops):", "    for position, hop in enumerate(hops[:0]):"
            ),
            Edit(ADDRESSES, "    return max(0, len(hops) - 1)", "    return 0"),
        ),
        f"{ADDRESS_TESTS}::test_a_trusted_proxy_reports_how_it_was_reached",
        "AssertionError",
        "the inner proxy's scheme is used",
    ),
    Bug(
        "reaper",
        "processes that a benchmark or test starts end with it",
        "servers and databases of killed runs continue to run",
        (
            Edit(
                "tests/support/lifeline.py",
                "                    os.killpg(pid, signal.SIGKILL)",
                "                    pass",
            ),
        ),
        "tests/support/test_lifeline.py::test_a_server_ends_with_whoever_started_it[SIGKILL]",
        "the end of all that it started",
        "the server still runs",
    ),
)
