"""The operators' API: REST and live events over HTTP. Writes only commands, campaigns and registry events.

A folder for each part, with its routes, bodies and logic: `access`, `registry`, `commands`, `equipment`, `billing`,
`live`.
`http`: what every route uses. `domain`: decisions without I/O. `application` joins the parts, `app` wires one process,
and `context` is what handlers get of it.
"""
