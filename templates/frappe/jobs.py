"""Background jobs that nobody will run any more. Shipped to the hosts by hactl.

RQ runs a job at most once: a worker takes it out of its queue, and when the worker dies with it, nothing runs it again by
itself. Run as the application's user with the bench's python, in the bench's `sites` folder, as

    jobs.py status            one line for `hactl status`
    jobs.py list              one JSON object a line: {"job", "queue", "found", "since", "what"}
    jobs.py requeue JOB...    puts those into their queues again
    jobs.py settle            while workers are stopped everywhere: puts into their queues again what they took and never began

`found` says what became of it:

    cut off    it had begun, and its worker or its host died; what it had committed by then is done
    stranded   a worker had taken it, or was about to, and it never began: the queue's Redis or the worker ended just then.
               RQ loses a job so when a worker is told to stop in the moment that Redis hands it one

RQ itself says so of the first kind when the worker has not been heard of for some 90 seconds. Jobs that ended with an error
of their own are none of these.
"""

import datetime
import json
import sys
import time

import redis
from rq import Queue, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry

# Seconds after which a job that was taken has begun, or never will.
TAKEN = 60
# Seconds between two looks at a job that may be on its way from its queue into a worker.
ON_ITS_WAY = 5
# What RQ writes about a job whose process died: found by another worker later; seen by its own worker at once.
DEATHS = ("AbandonedJobError", "Work-horse terminated unexpectedly", "Work-horse process was terminated unexpectedly")
# More are not looked at one by one.
MOST = 2000


def main():
    command, wanted = sys.argv[1], sys.argv[2:]
    with open("common_site_config.json") as file:
        config = json.load(file)
    connection = redis.Redis.from_url(config["redis_queue"], socket_connect_timeout=5, socket_timeout=20)
    queues = Queues(connection, config["bench_id"] + ":")
    if command == "status":
        print(queues.summary())
    elif command == "list":
        for found in queues.dead():
            print(json.dumps(found))
    elif command == "requeue":
        return requeue(queues, wanted)
    elif command == "settle":
        settle(queues)
    else:
        return f"no such command: {command}"
    return None


def requeue(queues, wanted):
    dead = {found["job"]: found for found in queues.dead()}
    if any(dead[job]["found"] == "stranded" for job in wanted if job in dead):
        time.sleep(ON_ITS_WAY)
        dead = {found["job"]: found for found in queues.dead()}
    missing = [job for job in wanted if job not in dead]
    for job in wanted:
        if job in dead and not queues.requeue(dead[job]):
            missing.append(job)
    if missing:
        return "neither cut off nor stranded: " + " ".join(missing)
    return None


def settle(queues):
    stranded = queues.stranded()
    # Of one that died RQ says for some minutes that it works.
    if stranded and Worker.count(connection=queues.connection):
        time.sleep(ON_ITS_WAY)
        again = {found["job"] for found in queues.stranded()}
        stranded = [found for found in stranded if found["job"] in again]
    back = [found for found in stranded if queues.requeue(found)]
    if back:
        print(f"{len(back)} jobs that a worker had taken and never began are in their queues again")


class Queues:
    """All queues of this bench."""

    def __init__(self, connection, prefix):
        self.connection = connection
        self.queues = [queue for queue in Queue.all(connection=connection) if queue.name.startswith(prefix)]
        self.prefix = prefix

    def summary(self):
        waiting = sum(queue.count for queue in self.queues)
        running = sum(len(self.running(queue)) for queue in self.queues)
        text = f"{waiting} waiting, {running} running"
        kinds = [found["found"] for found in self.dead()]
        for kind in ("cut off", "stranded"):
            if count := kinds.count(kind):
                text += f", {count} {kind}"
        return text if not kinds else "look: " + text

    def running(self, queue):
        """Jobs whose worker was heard of lately. Asked by hand: RQ's own way to ask clears up behind the dead."""
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        return {self.job_of(entry) for entry in self.connection.zrangebyscore(started(queue).key, now, "+inf")}

    @staticmethod
    def job_of(entry):
        # RQ 2 notes the execution behind the job.
        return entry.decode().rsplit(":", 1)[0] if RQ_2 else entry.decode()

    def dead(self):
        found = []
        for queue in self.queues:
            now = datetime.datetime.now(datetime.timezone.utc).timestamp()
            silent = self.connection.zrangebyscore(started(queue).key, 0, now)
            found += self.described(queue, [self.job_of(entry) for entry in silent], "cut off", lambda job: True)
            failed = self.connection.zrange(FailedJobRegistry(queue=queue).key, 0, MOST)
            found += self.described(queue, [entry.decode() for entry in failed], "cut off", died)
        return found + self.lost(time_ago(TAKEN))

    def stranded(self):
        return [found for found in self.lost("9") if found["found"] == "stranded"]

    def lost(self, before):
        """Jobs that are in no list at all, although their own word is that they wait or run."""
        places = {queue.name: queue for queue in self.queues}
        candidates = {}
        for keys in batches(self.connection.scan_iter(match="rq:job:*", count=1000, _type="hash"), 500):
            pipeline = self.connection.pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(key, "status", "origin", "enqueued_at", "started_at")
            for key, (status, origin, queued, started_at) in zip(keys, pipeline.execute()):
                queue = places.get((origin or b"").decode())
                since = (started_at or queued or b"").decode()
                if queue and status in (b"queued", b"started") and since and since < before:
                    candidates.setdefault(queue.name, []).append((key.decode().removeprefix("rq:job:"), status))
        found = []
        for name, jobs in candidates.items():
            queue = places[name]
            known = {entry.decode() for entry in self.connection.lrange(queue.key, 0, -1)}
            entries = self.connection.zrange(started(queue).key, 0, -1)
            known |= {self.job_of(entry) for entry in entries}
            for wanted, kind in ((b"queued", "stranded"), (b"started", "cut off")):
                ids = [job for job, status in jobs if status == wanted and job not in known]
                # One that has moved on meanwhile was not lost.
                found += self.described(queue, ids, kind, lambda job: word(job.get_status()) == wanted.decode())
        return found

    def described(self, queue, ids, kind, holds):
        found = []
        for job in Job.fetch_many(ids[:MOST], connection=self.connection) if ids else []:
            if job is None or not holds(job):
                continue
            since = job.started_at or job.enqueued_at or job.created_at
            found.append(
                {
                    "job": job.id,
                    "queue": queue.name.removeprefix(self.prefix),
                    "found": kind,
                    "since": since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else None,
                    "what": what(job),
                }
            )
        return found

    def requeue(self, found):
        """Whether it is in its queue again: of two who ask for it, one puts it there."""
        queue = next(queue for queue in self.queues if queue.name == self.prefix + found["queue"])
        # As any worker does every ten minutes: those that are cut off go to the failed ones.
        started(queue).cleanup()
        failed = FailedJobRegistry(queue=queue)
        if found["job"] in failed:
            failed.requeue(found["job"])
            return True
        mine = self.connection.set(f"hactl:requeue:{found['job']}", 1, nx=True, ex=TAKEN)
        if mine:
            job = Job.fetch(found["job"], connection=self.connection)
            job.started_at = job.ended_at = None
            # It was its turn.
            queue.enqueue_job(job, at_front=True)
        return bool(mine)


def word(status):
    return getattr(status, "value", status)


def started(queue):
    return StartedJobRegistry(queue=queue)


def died(job):
    text = job.exc_info or ""
    return any(words in text for words in DEATHS)


def what(job):
    """What it does, in a word; its arguments may hold anything."""
    try:
        arguments = job.kwargs
        name = arguments.get("job_name") or arguments.get("method") or job.func_name
        name = name if isinstance(name, str) else getattr(name, "__name__", "?")
        return " ".join(filter(None, [name, arguments.get("site")]))[:200]
    except Exception:  # what was pickled needs code that is gone
        return "?"


def time_ago(seconds):
    """As RQ writes times, which sort as text."""
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return then.strftime("%Y-%m-%dT%H:%M:%S")


def batches(keys, size):
    batch = []
    for key in keys:
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def major():
    import rq

    return int(rq.VERSION.split(".")[0])


RQ_2 = major() >= 2


if __name__ == "__main__":
    sys.exit(main())
