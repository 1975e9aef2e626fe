"""Where a client finds its nodes when it is not told: the settings CLIENT_ADDRESS and CLUSTER_NAME."""

from __future__ import annotations

from collections.abc import Sequence

from .links import split_addresses


def addresses_and_cluster(addresses: Sequence[str], cluster: str | None) -> tuple[list[str], str]:
    """What was given, the rest from the settings. Raises: ConfigError."""
    if addresses and cluster is not None:
        return split_addresses(addresses), cluster
    from ..config import load  # only where it is needed: reading the settings checks all of them

    settings = load({}).settings
    return split_addresses(addresses or settings.client_address), settings.cluster_name if cluster is None else cluster
