"""The operators' pages: server-rendered, stateless, and made of what the API is made of.

`pages`: one module for each page or list, with its routes and what it asks for. `web`: what every page uses, that is
rendering, words, headers, assets. `templates`: the pages' markup, with `components.html` for what they share.
`words`: the message catalogue of each language; English is what the templates say.
"""
