"""The lecture's first half: geometry as a sequence of moves, fitted to a target by moves and autodiff together.

Modules: `render` (soft, differentiable drawing), `tree` (branch, leaf, constraints, prior), `moves` (the slide's rules
with their inverses, apply and undo), `fit` (mechanism; the policy is the user's). Import from the module you need.
"""
