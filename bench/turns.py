#!/usr/bin/env python3
"""Lets programs take turns, as a file of JSON says; what a launcher is put before.

usage: turns.py TASK.json RESULT.json

{"cores": 1, "limit_s": 90, ...} and one of

  "sides": [{"command": [...], "env": {...}}, ...], "rounds": 5, "seconds": 0.25,
  "pause_s": 0, "peak": [...]
      Each side is a peers/serve.py process. All are loaded, then take turns, A B A B,
      of `seconds` or one run; the first round only warms up. `peak` is a command that
      runs before them; what it prints is kept.

  "commands": [[...], ...], "repeat": 3
      Each command is run so often; seconds on the wall and of CPU of the fastest.

Everything is pinned to the first `cores` cores this process may use. Standard library
only: it runs before any environment is made.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time


class Failure(Exception):
    """Of one side; `side` is its number."""

    def __init__(self, side, text):
        super().__init__(text)
        self.side = side


class Side:
    def __init__(self, number, command, env):
        self.number = number
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [*command, str(write)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            text=True, pass_fds=[write], env={**os.environ, **env})
        os.close(write)
        self.answers = os.fdopen(read)
        self.turns = []
        try:
            self.loaded = self.answer()
        except Failure:
            self.close()
            raise

    def answer(self):
        line = self.answers.readline()
        if not line:
            status = self.process.wait()
            raise Failure(self.number, f"its process died of signal {-status}" if status < 0
                          else f"its process ended, exit {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(self.number, answer["error"])
        return answer

    def turn(self, seconds):
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says how it ended
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def take_turns(task):
    result = {}
    if task.get("peak"):
        result["peak"] = subprocess.run(task["peak"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    sides = []
    try:
        for number, side in enumerate(task["sides"]):
            sides.append(Side(number, side["command"], side["env"]))
        begin = time.perf_counter()
        for number in range(task["rounds"] + 1):
            for side in sides:
                # Threads that spin for a while after a run must have stopped.
                time.sleep(task["pause_s"])
                turn = side.turn(task["seconds"])
                if number:
                    side.turns.append(turn)
            # A runtime that needs seconds for one run gets fewer rounds.
            if number >= 2 and time.perf_counter() - begin > task["limit_s"] / 6:
                break
    finally:
        for side in sides:
            side.close()
    result["sides"] = []
    for side in sides:
        every = [t for turn in side.turns for t in turn["times_ms"]]
        result["sides"].append({
            **side.loaded, "min_ms": min(every), "median_ms": percentile(every, 0.5), "p95_ms": percentile(every, 0.95),
            "runs": len(every), "round_medians_ms": [percentile(turn["times_ms"], 0.5) for turn in side.turns],
            "cores": side.turns[-1]["cores"], "peak_bytes": side.turns[-1]["peak_bytes"]})
    return result


def time_commands(task):
    fastest = []
    for command in task["commands"]:
        times = []
        for _ in range(task["repeat"]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            wall = time.perf_counter() - begin
            if done.returncode:
                raise Failure(0, done.stderr.strip())
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        fastest.append(min(times))
    return {"seconds": fastest}


def too_long(*_):
    raise Failure(-1, "not done in time")


def main():
    task_path, result_path = sys.argv[1:]
    with open(task_path) as file:
        task = json.load(file)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:task["cores"]])
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(task["limit_s"]))
    try:
        result = take_turns(task) if "sides" in task else time_commands(task)
    except Failure as failure:
        result = {"failure": str(failure), "side": failure.side}
    with open(result_path, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
