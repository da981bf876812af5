"""The site is made within a minute of processor time, its copies in one file with it."""

import time

from cs348k_diffusion.authoring import site

SECONDS = 60


def test_the_site_takes_a_minute(tmp_path):
    began = time.process_time()
    site.build(tmp_path / "pages", one_file=True)
    took = time.process_time() - began
    print(f"\nthe site: {took:.0f} s")
    assert took < SECONDS
