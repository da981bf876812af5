"""The claims of the course, a module a subject: a claim is data, its experiment a function in the same module."""
