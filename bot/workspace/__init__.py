"""A local Slack-compatible workspace: Web API, Socket Mode, signed HTTP events and a browser front.

It stands alone on purpose: it imports no other part of Muster and none of Slack's own packages, so that what Muster
sends is judged by code that Muster's authors could not have bent to fit.
"""
