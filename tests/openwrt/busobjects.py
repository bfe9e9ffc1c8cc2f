# SPDX-License-Identifier: GPL-2.0-or-later
"""What ubusd keeps of its clients and their objects (`ubusd.h`, `ubusd_obj.h`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .wire import Message


class Send(Protocol):
    def __call__(self, message: Message, paced: bool = False) -> None:
        """Hand a message to a client.

        It may be dropped when the client does not read, unless `paced`: the answers to a look-up
        are made only as fast as they are read.
        """


@dataclass(eq=False)
class Client:
    """One connection."""

    ident: int
    send: Send
    uid: int = 0
    user: str = "root"
    group: str = "root"
    objects: list[Object] = field(default_factory=list)


@dataclass(eq=False)
class Object:
    """Something calls can be made to; without a path it only receives."""

    ident: int
    owner: Client
    path: str | None
    type: ObjectType | None
    patterns: list[str] = field(default_factory=list)
    subscribers: list[Object] = field(default_factory=list)
    targets: list[Object] = field(default_factory=list)
    seq: int = 0


@dataclass(eq=False)
class ObjectType:
    """A signature, shared by the objects that name its id."""

    ident: int
    signature: bytes
    users: int = 0
