"""Keys in every form that people paste them in, and what is said of those that are none."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from adapters.venues.coinbase.client import private_client
from adapters.venues.coinbase.keys import SECRET_CHARACTERS_MAX, usable_keys
from domain.ports import VenueCredentials, VenueRefusedKeys

NAME = "organizations/0b1c2d3e-0000-4000-8000-000000000001/apiKeys/9f8e7d6c-0000-4000-8000-00000002"
SEC1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
ENCODING = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()


def pem_of(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat = SEC1) -> str:
    return key.private_bytes(ENCODING, form, PLAIN).decode()


EC_KEY = ec.derive_private_key(0x1234567890ABCDEF1234567890ABCDEF, ec.SECP256R1())
EC = pem_of(EC_KEY)
ED_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED = base64.b64encode(ED_KEY.private_bytes_raw() + ED_KEY.public_key().public_bytes_raw()).decode()
HMAC_KEY, HMAC = "tb7EXjRDTtRm6eLM", "hJ3kf8sNa0QwErTyUiOpAsDfGhJkLzXc"


def usable(key: str, secret: str) -> tuple[str, str]:
    found = usable_keys(VenueCredentials(key, secret, {}))
    # Signing is the judge: what is said to be usable must sign a request.
    client = private_client("http://127.0.0.1:9", found)
    assert client.apiKey == found.api_key
    return found.api_key, found.api_secret


ES256_FORMS = {
    "as shown": EC,
    "without its last line end": EC.rstrip("\n"),
    "windows line ends": EC.replace("\n", "\r\n"),
    "literal line breaks": EC.replace("\n", "\\n"),
    "literal windows line breaks": EC.replace("\n", "\\r\\n"),
    "doubly escaped": EC.replace("\n", "\\\\n").replace("\\\\n", "\\n"),
    "in quotes": f'"{EC}"',
    "in quotes with literal breaks": '"' + EC.replace("\n", "\\n") + '"',
    "single quotes": f"'{EC}'",
    "quotes of a word processor": f"\u201c{EC}\u201d",
    "blanks around": f"  \n\t {EC} \n ",
    "blanks before each line": EC.replace("\n", "\n    "),
    "all on one line": EC.replace("\n", " "),
    "line breaks lost": EC.replace("\n", ""),
    "a byte order mark": f"\ufeff{EC}",
    "a field of a file": '  "privateKey": "' + EC.replace("\n", "\\n") + '",',
    "an environment line": f"COINBASE_SECRET='{EC}'",
    "pkcs8": pem_of(EC_KEY, PKCS8),
    "without its first and last line": "".join(EC.split("\n")[1:-2]),
}
ED25519_FORMS = {
    "as shown": ED,
    "in quotes": f'"{ED}"',
    "with a line end": f"{ED}\r\n",
    "broken into lines": f"{ED[:40]}\n{ED[40:]}",
    "without equals signs": ED.rstrip("="),
    "literal line end": f"{ED}\\n",
    "seed only": base64.b64encode(bytes(range(32))).decode(),
    "pem": ED_KEY.private_bytes(ENCODING, PKCS8, PLAIN).decode(),
}


@pytest.mark.parametrize("form", ES256_FORMS)
def test_an_es256_key_connects_in_every_form(form: str) -> None:
    assert usable(NAME, ES256_FORMS[form]) == (NAME, EC)


@pytest.mark.parametrize("form", ED25519_FORMS)
def test_an_ed25519_key_connects_in_every_form(form: str) -> None:
    assert usable(NAME, ED25519_FORMS[form]) == (NAME, ED)


@pytest.mark.parametrize("around", ["{}", " {}\n", '"{}"', "'{}',", "{}\\n", "\ufeff{}\u00a0"])
def test_a_legacy_key_connects_in_every_form(around: str) -> None:
    assert usable(around.format(HMAC_KEY), around.format(HMAC)) == (HMAC_KEY, HMAC)


@pytest.mark.parametrize("around", [' "{}" ', "{}\r\n", "\u2018{}\u2019", "{},", "{}\\n"])
def test_the_keys_name_is_freed_of_what_is_around_it(around: str) -> None:
    assert usable(around.format(NAME), EC)[0] == NAME


@pytest.mark.parametrize("field", ["secret", "key", "both"])
@pytest.mark.parametrize("secret", [EC, ED])
@pytest.mark.parametrize("name", ["name", "id"])
@pytest.mark.parametrize("around", ["{}", "\n {} \n", "```json\n{}\n```"])
def test_the_downloaded_file_connects_in_either_field(
    field: str, secret: str, name: str, around: str
) -> None:
    file = around.format(json.dumps({name: NAME, "privateKey": secret}, indent=2))
    pasted = {"secret": (NAME, file), "key": (file, "x"), "both": (file, file)}

    assert usable(*pasted[field]) == (NAME, secret)


def test_a_file_whose_line_breaks_were_made_real_connects() -> None:
    file = '{"name": "' + NAME + '", "privateKey": "' + EC + '"}'

    assert usable(NAME, file) == (NAME, EC)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # never used
BEGIN, END = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
REFUSED = {
    "nothing": ("", EC, "empty"),
    "blanks": (NAME, " \n ", "empty"),
    "the private key as the name": (EC, NAME, "as the secret"),
    "an ed25519 key as the name": (ED, NAME, "as the secret"),
    "a private key without its lines as the name": (
        "".join(EC.split("\n")[1:-2]),
        NAME,
        "as the secret",
    ),
    "cut off at its end": (NAME, EC[:100], "cut off"),
    "without its beginning": (NAME, EC[40:], "beginning"),
    "a public key": (NAME, EC.replace("EC PRIVATE", "PUBLIC"), "not the private key"),
    "damaged": (NAME, EC[:60] + "*" + EC[61:], "damaged"),
    "a character short": (NAME, EC[:60] + EC[64:], "cannot be read"),
    "another curve": (NAME, pem_of(ec.derive_private_key(7, ec.SECP384R1())), "P-256"),
    "rsa": (NAME, RSA.private_bytes(ENCODING, PKCS8, PLAIN).decode(), "P-256"),
    # What is longer than any key of Coinbase is never parsed: OpenSSL would test its primes.
    "a long key without its lines": (NAME, base64.b64encode(b"0" * 300).decode(), "P-256"),
    "a long key": (NAME, f"{BEGIN}\n{base64.b64encode(b'0' * 4_000).decode()}\n{END}", "P-256"),
    "half an ed25519 key": (NAME, ED[:50], "no private key"),
    "an ed25519 key of two halves": (NAME, base64.b64encode(bytes(64)).decode(), "damaged"),
    "some words": (NAME, "my secret", "no private key"),
    "half a file": (NAME, '{"name": "x", "privateKey": }', "JSON"),
    "a file of something else": (NAME, '{"type": "service_account"}', "JSON"),
    "letters of another alphabet": (NAME, "п" * 32, "characters"),
    "a megabyte": (NAME, "a" * (SECRET_CHARACTERS_MAX + 1), "long"),
    "nested without end": (NAME, "{" * 5_000 + "}" * 5_000, "JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_keys_is_refused_with_what_is_wrong(case: str) -> None:
    key, secret, said = REFUSED[case]

    with pytest.raises(VenueRefusedKeys, match=said) as refusal:
        usable_keys(VenueCredentials(key, secret, {}))

    pieces = {secret[i : i + 12] for i in range(0, max(len(secret) - 12, 0), 4)}
    text = str(refusal.value)
    assert not [it for it in pieces if it in text and "-----" not in it and "KEY" not in it]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_usable_or_refused(key: str, secret: str) -> None:
    with suppress(VenueRefusedKeys):
        found = usable_keys(VenueCredentials(key, secret, {}))
        assert found.api_key
        assert found.api_secret


def test_what_is_usable_stays_as_it_is() -> None:
    for key, secret in ((NAME, EC), (NAME, ED), (HMAC_KEY, HMAC)):
        once = usable_keys(VenueCredentials(key, secret, {"org_id": "o"}))
        assert (once.api_key, once.api_secret) == (key, secret)
        assert once.params == {"org_id": "o"}
