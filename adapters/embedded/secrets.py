"""The secrets of a one-machine installation: generated once, kept, strong or refused."""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.files import write_private
from adapters.embedded.postgres_roles import DatabasePasswords

FILE_NAME = "secrets.json"
VAULT_KEY_BYTES = 32
JWT_SECRET_LENGTH_MIN = 32
JWT_SECRET_DISTINCT_MIN = 10
PASSWORD_LENGTH_MIN = 10
PASSWORD_DISTINCT_MIN = 5
COMMON_WORDS = ("password", "changeme", "administrator", "qwerty", "letmein", "1234567890")

ALPHABET = string.ascii_letters + string.digits
PASSWORD_GROUPS = 4
PASSWORD_GROUP_LENGTH = 6


def new_password() -> str:
    """A password that survives URL, shell and JSON unquoted, and satisfies usual rules."""
    while True:
        groups = (
            "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_GROUP_LENGTH))
            for _ in range(PASSWORD_GROUPS)
        )
        password = "-".join(groups)
        kinds = (str.isupper, str.islower, str.isdigit)
        if all(any(kind(letter) for letter in password) for kind in kinds):
            return password


def new_vault_key() -> str:
    """One entry of NIJA_VAULT_KEYS: `id:base64key`."""
    key = base64.b64encode(secrets.token_bytes(VAULT_KEY_BYTES)).decode()
    return f"k{secrets.token_hex(4)}:{key}"


class Secrets(BaseModel):
    """Everything generated; a field that an older file lacks is generated when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    jwt_secret: str = Field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    vault_keys: str = Field(default_factory=new_vault_key, repr=False)
    database_superuser_password: str = Field(default_factory=new_password, repr=False)
    database_owner_password: str = Field(default_factory=new_password, repr=False)
    database_app_password: str = Field(default_factory=new_password, repr=False)
    database_system_password: str = Field(default_factory=new_password, repr=False)
    admin_password: str = Field(default_factory=new_password, repr=False)
    demo_password: str = Field(default_factory=new_password, repr=False)
    demo_simulator_key: str | None = Field(default=None, repr=False)
    demo_simulator_secret: str | None = Field(default=None, repr=False)

    @property
    def database_passwords(self) -> DatabasePasswords:
        """The passwords of the embedded PostgreSQL."""
        return DatabasePasswords(
            superuser=self.database_superuser_password,
            owner=self.database_owner_password,
            app=self.database_app_password,
            system=self.database_system_password,
        )


def load_or_create(data_dir: Path) -> Secrets:
    """Read the secrets of a data folder; a new folder gets new ones.

    Raises:
        EmbeddedError: the file is damaged, or missing from a folder that is in use.
    """
    path = data_dir / FILE_NAME
    if not path.exists() and (data_dir / "postgres").exists():
        raise EmbeddedError(
            f"{path} is missing, but the data folder holds a database that only it can open. "
            "Restore it from a backup, or set NIJA_DATA_DIR to another folder."
        )
    text = path.read_text(encoding="utf-8") if path.exists() else "{}"
    try:
        found = Secrets.model_validate_json(text)
    except ValidationError as damaged:
        raise EmbeddedError(f"{path} is damaged. Restore it from a backup.") from damaged
    save(data_dir, found)
    return found


def save(data_dir: Path, values: Secrets) -> None:
    """Keep the secrets, readable by their owner only."""
    path = data_dir / FILE_NAME
    text = values.model_dump_json(indent=2) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)
    path.chmod(0o600)


def refuse_weak(
    jwt_secret: SecretStr | None, vault_keys: SecretStr | None, admin_password: SecretStr | None
) -> None:
    """Refuse given secrets that protect nothing; the message never repeats them.

    Raises:
        EmbeddedError: one is weak or malformed.
    """
    if jwt_secret is not None:
        _check_jwt_secret(jwt_secret.get_secret_value())
    if vault_keys is not None:
        _check_vault_keys(vault_keys.get_secret_value())
    if admin_password is not None:
        refuse_weak_password("NIJA_ADMIN_PASSWORD", admin_password.get_secret_value())


def refuse_weak_password(setting: str, value: str) -> None:
    """Refuse a password that is short or common; the message never repeats it.

    Raises:
        EmbeddedError: it is weak.
    """
    common = any(word in value.lower() for word in COMMON_WORDS)
    if len(value) < PASSWORD_LENGTH_MIN or len(set(value)) < PASSWORD_DISTINCT_MIN or common:
        raise EmbeddedError(
            f"{setting} is weak: give at least {PASSWORD_LENGTH_MIN} characters that are not "
            "a common password, or unset it to have one generated."
        )


def _check_jwt_secret(value: str) -> None:
    if len(value) < JWT_SECRET_LENGTH_MIN or len(set(value)) < JWT_SECRET_DISTINCT_MIN:
        raise EmbeddedError(
            f"NIJA_JWT_SECRET is weak: give at least {JWT_SECRET_LENGTH_MIN} random characters, "
            "or unset it to have one generated."
        )


def _check_vault_keys(value: str) -> None:
    names = []
    for entry in value.split(","):
        name, colon, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not (name and colon and len(key) == VAULT_KEY_BYTES and len(set(key)) > 1):
            raise EmbeddedError(
                "NIJA_VAULT_KEYS must be id:base64key[,id:base64key], each key "
                f"{VAULT_KEY_BYTES} random bytes in base64; or unset it to have one generated."
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise EmbeddedError("NIJA_VAULT_KEYS names two keys alike; each needs an id of its own.")
