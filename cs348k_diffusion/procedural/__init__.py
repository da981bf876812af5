"""The lecture's first half: geometry as a sequence of moves, fitted to a target by moves and autodiff together.

Modules, each using the ones before it: `tree` (branch and leaf), `grammar` (constraints and prior), `pack` (many trees
as tensors), `render` (soft, differentiable drawing), `moves` (the slide's rules with their inverses), `targets`,
`chain`, `policy` (the user's), `fit` (the mechanism), `policies` (four of them). Import from the module you need.
"""
