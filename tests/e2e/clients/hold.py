"""Maps a file for execution until its input ends: hold.py FILE."""

import mmap
import sys

with open(sys.argv[1], "rb") as file:
    mapping = mmap.mmap(
        file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
    )
    print("mapped", flush=True)
    sys.stdin.read()
    mapping.close()
