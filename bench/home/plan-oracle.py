#!/usr/bin/env python3
"""Solves a mixed integer program (MPS) with HiGHS on one thread, beginning from a given solution, and prints its cost, its lower bound and
the seconds it took. The limit counts the processor's time: on a busy machine the solver is not worth less."""
import os
import sys
import threading
import time

import highspy
import numpy

# Making larger programs simpler took longer than all of the time that solving gets.
PRESOLVED_MOST = 8000

path, begin, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
highs = highspy.Highs()
highs.setOptionValue("output_flag", False)
highs.setOptionValue("threads", 1)
highs.setOptionValue("mip_rel_gap", 1e-6)
highs.readModel(path)
with open(begin) as lines:
    values = numpy.array([float(line) for line in lines])
highs.setSolution(len(values), numpy.arange(len(values), dtype=numpy.int32), values)
lp = highs.getLp()
if lp.num_col_ > PRESOLVED_MOST:
    highs.setOptionValue("presolve", "off")
# Best cost and bound known so far; at the beginning the given solution's, and none.
known = [float(numpy.dot(lp.col_cost_, values)) + lp.offset_, float("-inf")]
began = time.process_time()


def say():
    print(*known, time.process_time() - began, flush=True)


def look(event):
    known[:] = min(known[0], event.data_out.mip_primal_bound), max(known[1], event.data_out.mip_dual_bound)
    if time.process_time() - began > seconds:
        event.interrupt()


def watch():
    # Some steps ask nobody for minutes.
    while time.process_time() - began < 1.25 * seconds:
        time.sleep(0.2)
    say()
    os._exit(0)


threading.Thread(target=watch, daemon=True).start()
highs.cbMipInterrupt += look
highs.run()
info = highs.getInfo()
known[:] = info.objective_function_value, info.mip_dual_bound
say()
