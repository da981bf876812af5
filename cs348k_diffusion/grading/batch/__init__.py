"""A whole class: the plan, the journal, and where the work is done."""
