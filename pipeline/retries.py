"""Which faults of a component can pass, and how long to wait before it is tried again."""

import errno
import os
import random
import sqlite3

import tensorflow as tf
from ml_metadata import errors as mlmd_errors

from pipeline.disk import causes

_PASSING_ERRNOS = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH,
    errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE,
    errno.ETIMEDOUT,
}  # fmt: skip
_PASSING_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
    mlmd_errors.AbortedError,
    mlmd_errors.DeadlineExceededError,
    mlmd_errors.UnavailableError,
)
_TEXTS = (*(os.strerror(number) for number in sorted(_PASSING_ERRNOS)), "database is locked")
_MYSQL_TEXTS = (
    "mysql_real_connect failed",  # in the middle of a run, whose beginning has logged in
    "MySQL server has gone away",
    "Lost connection to MySQL server",
    "Server shutdown in progress",
    "Deadlock found",
    "Lock wait timeout exceeded",
)
_LONGEST_DELAY_SECS = 60.0


def can_pass(err: BaseException) -> bool:
    """Whether an error is of the machine or the network, so that another attempt may succeed.

    Never of the data, the code or a full disk: they would fail again.
    """
    return any(_passes(each) for each in causes(err))


def delay_secs(attempt: int, first_secs: float) -> float:
    """Returns how long to wait after an attempt that failed, 1 for the first: twice as long each time, and not in step.

    Args:
        attempt: That failed.
        first_secs: After the first one.
    """
    return min(first_secs * 2 ** (attempt - 1), _LONGEST_DELAY_SECS) * random.uniform(0.75, 1.25)


def _passes(err: BaseException) -> bool:
    if isinstance(err, OSError):
        return err.errno in _PASSING_ERRNOS or isinstance(err, TimeoutError)
    if isinstance(err, _PASSING_ERRORS):
        return True
    if isinstance(err, mlmd_errors.StatusError | RuntimeError) and any(text in str(err) for text in _MYSQL_TEXTS):
        return True
    # What a C++ file system or sqlite met comes as an error of another kind, with the words of the system.
    return isinstance(err, tf.errors.OpError | mlmd_errors.StatusError | sqlite3.Error) and any(
        text in str(err) for text in _TEXTS
    )
