"""`flawmap serve`: the page and the REST interface around trained models. The web framework stays in here.

Photos, jobs, findings and reviews live in one data folder (`storage`, `database`); `queueing` computes what
is asked, `inspecting` works off long jobs, `routes_*` answer requests, `guard` keeps out what must
not come in.
"""
