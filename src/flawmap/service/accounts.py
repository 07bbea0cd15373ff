"""Who may come in, and as what. Of passwords argon2id hashes are kept, of random secrets plain digests."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlmodel import col, delete, select

from flawmap.errors import OptionError
from flawmap.service.database import Account, Database, Token, now

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ROLES = ("viewer", "reviewer", "admin")
"""Each may do what the ones before it may: look; upload, inspect and review; see the audit log and switch."""
LEAST_PASSWORD = 10
_LOGIN_LASTS = timedelta(hours=12)
_REMEMBERED_S = 5.0
_MOST_KNOWN = 1000


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the caller has this role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Caller("local", "admin")
"""Who sits at the machine, where there are no accounts and nobody else can reach the service."""


def has_accounts(database: Database) -> bool:
    with database.reading() as session:
        return session.exec(select(Account)).first() is not None


def add_account(database: Database, name: str, role: str, password: str, who: str = "command line") -> None:
    """Raises OptionError for a name that is taken, an unknown role or a password that is too short."""
    if role not in ROLES:
        raise OptionError(f"the role is '{role}'; {', '.join(ROLES)} was wanted")
    if not name.isprintable() or not 1 <= len(name) <= 100:
        raise OptionError("an account's name has 1 to 100 printable characters")
    if len(password) < LEAST_PASSWORD:
        raise OptionError(f"the password has {len(password)} characters; {LEAST_PASSWORD} or more are wanted")
    hashed = _hasher().hash(password)
    with database.writing(who, "add account", f"{name} ({role})") as session:
        if session.exec(select(Account).where(Account.name == name)).first() is not None:
            raise OptionError(f"there is an account '{name}' already; choose another name")
        session.add(Account(name=name, role=role, password_hash=hashed, created_at=now()))


def make_token(database: Database, name: str, who: str = "command line", *, is_login: bool = False) -> str:
    """A new secret for an account, shown once; a login's ends after twelve hours. Raises OptionError."""
    secret = secrets.token_urlsafe(32)
    expires_at = (datetime.now(UTC) + _LOGIN_LASTS).isoformat(timespec="microseconds") if is_login else None
    with database.writing(who, "log in" if is_login else "make token", name) as session:
        account = session.exec(select(Account).where(Account.name == name)).first()
        if account is None or account.id is None:
            raise OptionError(f"there is no account '{name}'; make it first")
        session.add(
            Token(digest=_digest(secret), account_id=account.id, created_at=now(), expires_at=expires_at)
        )
        session.exec(delete(Token).where(col(Token.expires_at) < now()))
    return secret


def end_token(database: Database, secret: str) -> None:
    """Of a login that is over."""
    with database.writing() as session:
        session.exec(delete(Token).where(col(Token.digest) == _digest(secret)))


def who_has_token(database: Database, secret: str) -> Caller | None:
    """The account that a secret stands for, while it lasts."""
    query = (
        select(Account, Token)
        .join(Token, col(Token.account_id) == col(Account.id))
        .where(Token.digest == _digest(secret))
    )
    with database.reading() as session:
        found = session.exec(query).first()
    if found is None:
        return None
    account, token = found
    is_over = token.expires_at is not None and token.expires_at < now()
    return None if is_over else Caller(account.name, account.role)


class KnownTokens:
    """Who a secret stands for, remembered for some seconds: programs send theirs with every photo."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._known: dict[str, tuple[Caller, float]] = {}

    def recall(self, secret: str) -> Caller | None:
        """Who it stood for a moment ago, or None where the database has to be asked."""
        caller, asked_s = self._known.get(_digest(secret), (None, 0.0))
        return caller if self._clock() - asked_s < _REMEMBERED_S else None

    def ask(self, secret: str) -> Caller | None:
        """As who_has_token()."""
        caller = who_has_token(self._database, secret)
        if caller is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[_digest(secret)] = (caller, self._clock())
        return caller

    def forget(self, secret: str) -> None:
        """Of a login that is over."""
        end_token(self._database, secret)
        self._known.pop(_digest(secret), None)


def who_has_password(database: Database, name: str, password: str) -> Caller | None:
    """The account with this name and password. An unknown name takes as long as a wrong password."""
    from argon2.exceptions import InvalidHashError, VerificationError

    with database.reading() as session:
        is_possible = name.isprintable()  # databases refuse NUL in what they are asked for
        account = session.exec(select(Account).where(Account.name == name)).first() if is_possible else None
    try:
        _hasher().verify(_nobodys_hash() if account is None else account.password_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    return None if account is None else Caller(account.name, account.role)


def _digest(secret: str) -> str:
    """A plain digest is enough for 256 random bits; argon2 is for what people can remember."""
    return hashlib.blake2b(secret.encode("utf-8", "replace"), digest_size=32).hexdigest()


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))
