"""What a service may be told."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.tools.options import Options


@dataclass(frozen=True)
class ServeOptions(Options):
    """How a service listens, where it keeps things, and how much it takes."""

    host: str = "127.0.0.1"
    port: int = 8000
    data: Path = Path("flawmap-data")
    """Folder of the uploads, the pictures and the embedded database."""
    database: str | None = None
    """An SQLAlchemy address such as postgresql+psycopg://…; None: an SQLite file in `data`."""
    n_threads: int | None = None
    """Photos computed at once; None: as many as the process may use cores."""
    max_photo_mb: float = 50.0
    max_megapixels: float = 100.0
    """Checked in the photo's header, before anything is decoded."""
    max_request_mb: float = 200.0
    """Of all that one call sends; inspections take any number of photos, uploaded one by one."""
    max_waiting: int = 128
    """Photos that may wait for predict; more are refused with 503 and a time to come back."""
    requests_per_minute: int = 30_000
    """Of one address; more are refused with 429. Two cores answer fewer: a full queue refuses before."""
    logins_per_minute: int = 10
    """Failed ones from one address; argon2 makes each cost about 50 ms of a core."""

    watch: Path | None = None
    """A folder whose new photos are inspected as they come; nothing in it is changed."""
    watch_poll_s: float = 1.0
    watch_settle_s: float = 2.0
    """How long a file there must not have changed before it is taken up."""
    webhook: str | None = None
    """Told of findings and drift, signed with FLAWMAP_WEBHOOK_SECRET of the environment."""
    public_url: str | None = None
    """Where people reach the page, for the links that the webhook sends; None: the address listened on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port <= 65535:
            raise OptionError(f"port is {self.port}; 0 to 65535 was wanted")
        for name in ("max_photo_mb", "max_megapixels", "max_request_mb", "max_waiting", "watch_poll_s"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is {getattr(self, name)}; a number above 0 was wanted")
        if self.n_threads is not None and self.n_threads < 1:
            raise OptionError(f"n_threads is {self.n_threads}; 1 or more was wanted, or none")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Where the service listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def max_photo_bytes(self) -> int:
        return round(self.max_photo_mb * 1e6)
