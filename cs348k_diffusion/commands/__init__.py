"""What the commands of `cs348k` do and print: pictures, trees, trainings, claims, marks, the state of the machine."""
