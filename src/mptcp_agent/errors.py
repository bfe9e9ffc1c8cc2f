# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors of this program: one base class, one class per thing a user can mend.

Modules in ``system`` translate what the machine raises (OSError, NetlinkError, a failed
child process) into these at their edge; the loop turns them into problems of the status
document. Every message names the section, option, file or program and the way out.
"""


class AgentError(Exception):
    """Base of everything the agent raises on purpose."""


class BusError(AgentError):
    """ubusd, or the object asked for, does not answer."""


class ConfigError(AgentError):
    """uci cannot read the file of a package: ``complaint`` is what it says."""

    def __init__(self, package: str, complaint: str) -> None:
        super().__init__(f"{package}: {complaint}")
        self.package = package
        self.complaint = complaint


class KernelError(AgentError):
    """The kernel refused a request (endpoint, route, rule, sysctl)."""


class FirewallError(AgentError):
    """nft or iptables refused the rules, or did not keep them."""


class ServiceError(AgentError):
    """procd did not take or start the proxy processes."""


class FileError(AgentError):
    """A file could not be read or written (permission, no space, read-only)."""


class EngineError(AgentError):
    """A Shadowsocks engine is missing, too old, or cannot do what a section asks."""
