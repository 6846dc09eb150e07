#!/usr/bin/env python3
"""Solves a mixed integer program (MPS) with HiGHS on one thread, beginning from a given solution, and prints its cost, its lower bound and
the seconds it took. The limit counts the processor's time: on a busy machine the solver is not worth less."""
import sys
import time

import highspy
import numpy

path, begin, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
highs = highspy.Highs()
highs.setOptionValue("output_flag", False)
highs.setOptionValue("threads", 1)
highs.setOptionValue("mip_rel_gap", 1e-6)
highs.readModel(path)
with open(begin) as lines:
    values = numpy.array([float(line) for line in lines])
highs.setSolution(len(values), numpy.arange(len(values), dtype=numpy.int32), values)
began = time.process_time()


def look(event):
    if time.process_time() - began > seconds:
        event.interrupt()


highs.cbMipInterrupt += look
highs.run()
info = highs.getInfo()
print(info.objective_function_value, info.mip_dual_bound, time.process_time() - began)
