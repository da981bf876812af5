"""The system calls that a worker is refused (seccomp), by name: what an answer never needs, and could do harm by.

Everything else passes. Refused are: other programs, signals and looking into other processes, sockets, memory that no
limit counts (System V, memfd, message queues), mounts and namespaces, the kernel's own controls. Four calls are
refused by their arguments: limits of other processes, asking for signals to be sent on a file's behalf, and outliving
the process that forked the worker.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

# name: (number on x86_64, number on aarch64), None where there is no such call
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    # signals
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    # sockets and asynchronous input and output
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "fanotify_init": (300, 262),
    # memory that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_notify": (244, 184),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # the kernel's own controls
    "bpf": (321, 280), "perf_event_open": (298, 241), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116),
    "personality": (135, 92), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
}  # fmt: skip
PR_SET_PDEATHSIG = 1
F_SETOWN, F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 10, 15, 0x8901, 0x8902
# name: (numbers, which argument, values of it that are refused)
REFUSED_VALUES: dict[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    "fcntl": ((72, 25), 1, (F_SETOWN, F_SETSIG, F_SETOWN_EX)),
    "ioctl": ((16, 29), 1, (FIOSETOWN, SIOCSPGRP)),
    "prctl": ((157, 167), 0, (PR_SET_PDEATHSIG,)),  # a worker ends with the process that forked it
}
ONLY_SELF = {"prlimit64": (302, 261)}  # refused unless the first argument, the process, is 0
MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}  # column, architecture, number of clone
CLONE3, CLONE_THREAD, X32 = 435, 0x10000, 0x40000000
PR_SET_SECCOMP, MODE_FILTER = 22, 2
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
Line = tuple[int, int, int, int]


def program(machine: str) -> list[Line]:
    """The filter for a machine as (code, jump if true, jump if false, value); clone passes for threads alone."""
    column, arch, clone = MACHINES[machine]
    lines = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, X32), (_RETURN, 0, 0, _EPERM)]
    lines += [(_EQUAL, 0, 1, CLONE3), (_RETURN, 0, 0, _ENOSYS)]  # the C library then falls back on clone
    for number in [numbers[column] for numbers in REFUSED.values()]:
        lines += [] if number is None else [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    for numbers, argument, values in REFUSED_VALUES.values():
        lines += _when(numbers[column], argument, [(_EQUAL, 0, 1, value) for value in values], _EPERM, _ALLOW)
    for numbers in ONLY_SELF.values():
        lines += _when(numbers[column], 0, [(_EQUAL, 0, 1, 0)], _ALLOW, _EPERM)
    lines += _when(clone, 0, [(_BITS, 0, 1, CLONE_THREAD)], _ALLOW, _EPERM)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _when(number: int, argument: int, tests: list[Line], then: int, otherwise: int) -> list[Line]:
    """For one call: `then` where a test of the argument's low half holds, else `otherwise`."""
    inner = [(_LOAD, 0, 0, 16 + 8 * argument)]
    for test in tests:
        inner += [test, (_RETURN, 0, 0, then)]
    inner.append((_RETURN, 0, 0, otherwise))
    return [(_EQUAL, 0, len(inner), number), *inner]


def refuse() -> None:
    """Filter the calls of this process and its threads, for good (Linux). OSError where the kernel refuses."""
    if platform.machine() not in MACHINES or sys.byteorder != "little":
        return
    lines = program(platform.machine())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    filter_ = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_SECCOMP, MODE_FILTER, filter_, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "seccomp")
