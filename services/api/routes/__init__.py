"""The handlers, one module for each kind of resource."""

from fastapi import APIRouter

from services.api.routes import (
    campaigns,
    certificates,
    commands,
    credentials,
    decisions,
    documents,
    history,
    identity,
    local_lists,
    logs,
    reconciliation,
    security,
    sites,
    state,
    stations,
    stream,
    tariffs,
    tokens,
    variables,
)

ROUTERS: tuple[APIRouter, ...] = (
    state.router,  # before the stations: /stations/{id}/state
    commands.router,
    variables.router,
    local_lists.router,
    certificates.router,
    logs.router,
    stations.router,
    credentials.router,
    sites.router,
    tokens.router,
    tariffs.router,
    history.router,
    documents.router,
    decisions.router,
    reconciliation.router,
    campaigns.router,
    security.router,
    stream.router,
    identity.router,
)
