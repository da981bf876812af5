"""Studies, a module each: `python -m cs348k_diffusion.evaluate.studies.NAME [FOLDER]` writes the card NAME."""
