"""Gunicorn's settings, from the environment; GUNICORN_CMD_ARGS overrides them (`--access-logfile -`)."""

from config import environment

bind = f"{environment.read('RANKLOOP_BIND')}:{environment.read_port()}"
workers = environment.read_web_workers()
worker_class = "gthread"
threads = 8
timeout = 60
graceful_timeout = 10
# Behind a proxy the connection is kept longer than the proxy keeps it, or requests meet closed connections.
keepalive = 75
control_socket_disable = True
