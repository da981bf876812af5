"""What the commands that draw do: a picture from a prompt, a tree grown into a picture."""
