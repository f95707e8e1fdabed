"""Harbor Answers: a small AI service with physics, for drills and the demo.

It is a peer process that Muster reaches over HTTP, so it imports nothing of Muster's. README.md has the wire API and the PromQL subset.
"""
