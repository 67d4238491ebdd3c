from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Limits that one worker sets its clients; times in seconds.

    Attributes:
        max_connections: Connections of the worker; one more is refused with 503.
        max_connections_per_user: Connections of one user; one more is refused with 429.
        max_connections_per_address: Connections of one client address, or /64 of IPv6; one more is refused with 429.
        max_descriptors: Descriptors of all clients together; above, connections are cut that wait for a request.
        max_subscriptions: Topics of one connection; one more is answered with `limit`.
        max_frame_bytes: Size of one frame of a client; a larger one ends the connection with 1009.
        frames_per_s: Frames a client may send per second in the long run; more end the connection with 4429.
        frames_burst: Frames it may send at once.
        slow_client_bytes: Unsent bytes above which a client is conflated.
        slow_client_s: How long a client may stay conflated before it is closed with 4408.
        reauthorize_s: Time within which a lost right ends its subscription; 0 = rights are checked at subscribe only.
        answer_age_s: How old an answer about rights may be.
        ping_s: Time between pings.
        silence_s: How long nothing at all may come from a client before it counts as gone.
        close_grace_s: How long a client may take to answer a close frame.
        broadcast_share: Share of the event loop that sending may take, above 0 to 1.
        gather_s: How long positions gather at most to keep it.
    """

    max_connections: int = 10_000
    max_connections_per_user: int = 50
    max_connections_per_address: int = 1000
    max_descriptors: int = 20_000
    max_subscriptions: int = 100
    max_frame_bytes: int = 4096
    frames_per_s: float = 20.0
    frames_burst: int = 100
    slow_client_bytes: int = 262_144
    slow_client_s: float = 30.0
    reauthorize_s: float = 60.0
    answer_age_s: float = 0.0
    ping_s: float = 25.0
    silence_s: float = 60.0
    close_grace_s: float = 5.0
    broadcast_share: float = 0.1
    gather_s: float = 0.2
