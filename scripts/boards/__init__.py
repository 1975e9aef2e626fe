"""The dashboards: a file each."""

from scripts.boards.cluster import CLUSTER
from scripts.boards.elections import ELECTIONS
from scripts.boards.queues import QUEUES
from scripts.boards.workers import WORKERS

BOARDS = (CLUSTER, QUEUES, WORKERS, ELECTIONS)
