"""The Kubernetes API, as four kinds of backends use it: the way in, one request, compare-and-set, who changed what, what ran before.

No vendor SDK: what is needed is few requests, and every answer has to be judged for what is certain.
"""
