"""The scaled-out suite and its servers on one machine, without Docker: ``python -m deploy.local``.

``rabbit``, ``redis``, ``mongo`` and ``s3`` each start a private server on loopback ports of its own, with everything
it keeps in one folder; tests use them one by one.
"""
