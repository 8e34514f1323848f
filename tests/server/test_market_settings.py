"""What is sold, for what, and what it brings: settings that would lose money stop the start."""

from pathlib import Path

import pytest

from server.config import ConfigError, Settings, read_secrets, read_settings
from server.market_settings import Pack

CONFIG = Path(__file__).parents[2] / "config.toml"
LONG = "whsec_" + "x" * 32


def test_the_file_that_comes_with_it_says_what_is_so_without_it() -> None:
    assert read_settings(CONFIG, {}) == Settings() == read_settings(None, {})


def test_packs_of_ones_own_are_all_that_is_on_offer(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[packs]\ncurrency = "EUR"\n[packs.offers.only]\ntokens = 10\nprice_cents = 99\n')
    assert read_settings(file, {}).packs.offers == {"only": Pack(10, 99)}
    given = {"HALFMINUTE_PACKS_OFFERS": '{"other": {"tokens": 1, "price_cents": 9}}'}
    assert read_settings(file, given).packs.offers == {"other": Pack(1, 9)}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[packs]\ncurrency = "JPY"', "packs.currency must have cents, and JPY has none"),
        ("[packs.offers.x]\ntokens = 100\nprice_cents = 500", "packs.offers.x must cost more than its tokens bring"),
        ("[payouts]\ncents_per_token = 7", "must cost more than its tokens bring"),
        ("[packs.offers.x]\ntokens = 0\nprice_cents = 500", "[packs] offers[...].tokens: Expected `int` >= 1"),
        ("[packs.offers.X]\ntokens = 1\nprice_cents = 500", "at `key` in `$.packs.offers`"),
        ('[payments]\nstripe_url = "http://api.example.org"', "payments.stripe_url must be an https address"),
        ('[payments]\nstripe_url = "api.example.org"', "payments.stripe_url must be an https address"),
        ("[overlays]\ntokens_per_creator = 0", "[overlays] tokens_per_creator: Expected `int` >= 1"),
    ],
)
def test_what_would_lose_money_or_a_secret_stops_the_start(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(file, {})
    assert line in str(refused.value)


def test_where_currencies_differ_nobody_knows_the_margin_but_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[payouts]\ncents_per_token = 700\ncurrency = "CZK"')
    assert read_settings(file, {}).payouts.cents_per_token == 700


def test_the_secrets_of_the_provider_come_together_and_are_long_enough() -> None:
    secrets = read_secrets({"HALFMINUTE_STRIPE_SECRET_KEY": "sk_x", "HALFMINUTE_STRIPE_WEBHOOK_SECRET": LONG})
    assert (secrets.stripe_secret_key, secrets.stripe_webhook_secret) == ("sk_x", LONG)
    assert "sk_x" not in repr(secrets)
    for given in (
        {"HALFMINUTE_STRIPE_SECRET_KEY": "sk_x"},
        {"HALFMINUTE_STRIPE_WEBHOOK_SECRET": LONG},
        {"HALFMINUTE_STRIPE_SECRET_KEY": "sk_x", "HALFMINUTE_STRIPE_WEBHOOK_SECRET": "whsec_short"},
    ):
        with pytest.raises(ConfigError):
            read_secrets(given)
