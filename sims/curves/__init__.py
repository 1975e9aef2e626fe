"""The published curves of elections and membership, drawn again by the real cores in the simulator, beside the published points.

    published      the figures, each with its source                      intervals   how sure a measured one is
    ear            a watch that only listens, and stops a run             chart       points and lines as SVG
    elections      one election from fresh timers, or after a kill        wan, split, failover, omission
    crowd          a settled gossip cluster of up to 1,000                swim, load, false_deaths
    plain_swim     SWIM as the paper has it, to compare with              result      what a curve gives back
    covered        which branches fuzzing takes
    report         JSON and text of all results                           command     `python -m sims curves`

Each curve is a function (scale) -> Result; `Scale` says how many elections, nodes, periods. Seeds are derived from FIRST_SEED and the
place in the curve, so the same scale gives the same numbers anywhere.
"""
