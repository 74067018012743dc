"""How fast a net runs one way or another: each way in a process of its own.

python -m commands.deploy.measure '{"way": "paddle", ...}'
"""
