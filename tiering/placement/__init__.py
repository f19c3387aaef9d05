"""Which file or dataset belongs on which storage tier: the cheapest plan that the tiers' capacities and rates allow.

Open `plan.py` first: it turns a trace into costs, solves the assignment and summarises the result. `heat.py` counts how
often each file is read and written, `file_costs.py` prices that on a tier, and `solver.py` finds the plan.
`file_lists.py` writes the plan down for rsync and rclone.

For whole datasets, `survey.py` finds them and joins the traces of jobs, `dataset_costs.py` prices them, and
`dataset_plan.py` places them and says what follows.
"""
