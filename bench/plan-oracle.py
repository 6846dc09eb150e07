#!/usr/bin/env python3
"""Solves a mixed integer program (MPS) with HiGHS on one thread and prints its cost, its lower bound and the seconds it took."""
import sys

import highspy

path, seconds = sys.argv[1], float(sys.argv[2])
highs = highspy.Highs()
highs.setOptionValue("output_flag", False)
highs.setOptionValue("threads", 1)
highs.setOptionValue("time_limit", seconds)
highs.setOptionValue("mip_rel_gap", 1e-6)
highs.readModel(path)
highs.run()
info = highs.getInfo()
print(info.objective_function_value, info.mip_dual_bound, highs.getRunTime())
