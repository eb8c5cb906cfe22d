"""What others rely on, pinned as it is: requests' parameters and digests, commands and options, tools, the API.

Each file is compared with what the program makes now. A difference is a change of a contract: look at it, and if it is
wanted, write the files anew with `pytest --write-golden tests/golden` and say so in the changelog.
"""
