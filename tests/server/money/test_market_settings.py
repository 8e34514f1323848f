"""The packs on offer, their prices, and cash-out: settings that would lose money stop the start."""

from pathlib import Path

import pytest

from server.config.packs import Pack
from server.config.secrets import read_secrets
from server.config.settings import ConfigError, Settings, read_settings

CONFIG = Path(__file__).parents[3] / "config.toml"
LONG = "whsec_" + "x" * 32


def test_the_shipped_file_repeats_the_defaults() -> None:
    assert read_settings(CONFIG, {}) == Settings() == read_settings(None, {})


def test_configured_packs_replace_the_default_offer(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'packs.currency = "EUR"\npayouts.currency = "EUR"\npacks.offers.only = {tokens = 10, price_cents = 99}'
    )
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
def test_settings_that_would_lose_money_or_a_secret_stop_the_start(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(file, {})
    assert line in str(refused.value)


INR = "[packs]\ncurrency = 'INR'\n"  # the default packs, so 100 tokens for 6.99 INR


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (INR, "payouts.exchange_rate must say how many USD one INR is worth"),
        (f"{INR}[payouts]\nexchange_rate = 0.0115", "must cost more than its tokens bring as a payout"),
        (f"{INR}[payouts]\nexchange_rate = -1", "Expected `float` >= 0"),
        ("[payouts]\nexchange_rate = 2", "payouts.exchange_rate must be 0: packs and payouts are both in USD"),
        # 100 tokens bring 5.00 USD, which are 434.79 INR; a pack at that price would pay for itself.
        (
            f"{INR}[packs.offers.x]\ntokens = 100\nprice_cents = 43479\n[payouts]\nexchange_rate = 0.0115",
            "packs.offers.x must cost more",
        ),
    ],
)
def test_where_currencies_differ_the_margin_is_checked_against_a_rate(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(file, {})
    assert line in str(refused.value)


def test_with_a_rate_packs_that_cost_more_than_they_bring_are_on_offer(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"{INR}[packs.offers.x]\ntokens = 100\nprice_cents = 43480\n[payouts]\nexchange_rate = 0.0115")
    settings = read_settings(file, {})
    assert settings.payouts.in_packs_currency(500) == 43479
    assert Settings().payouts.in_packs_currency(500) == 500


def test_the_secrets_of_the_provider_are_set_together_and_are_long_enough() -> None:
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
