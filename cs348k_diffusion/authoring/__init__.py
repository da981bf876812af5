"""The tools of those who write the course: handouts, stored outputs, the release. Students do not get this folder."""
