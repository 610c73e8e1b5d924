package applets

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// words tells an error as runit would: where it ends in the system's text for
// an errno, runit's own text stands instead.
func words(err error) string {
	text := err.Error()
	var no syscall.Errno
	if errors.As(err, &no) {
		if head, ok := strings.CutSuffix(text, no.Error()); ok {
			return head + errnoText(no)
		}
	}
	return text
}

// errnoText is runit's text for an errno, which is not the C library's.
func errnoText(no syscall.Errno) string {
	if text, ok := errnoTexts[no]; ok {
		return text
	}
	return "unknown error"
}

// errnoTexts are the texts that every runit tool prints; note that EPERM is
// "permission denied" and EACCES "access denied".
var errnoTexts = map[syscall.Errno]string{
	0:                    "no error",
	unix.EINTR:           "interrupted system call",
	unix.ENOMEM:          "out of memory",
	unix.ENOENT:          "file does not exist",
	unix.ETXTBSY:         "text busy",
	unix.EIO:             "input/output error",
	unix.EEXIST:          "file already exists",
	unix.ETIMEDOUT:       "timed out",
	unix.EINPROGRESS:     "operation in progress",
	unix.EAGAIN:          "temporary failure",
	unix.EPIPE:           "broken pipe",
	unix.EPERM:           "permission denied",
	unix.EACCES:          "access denied",
	unix.ENXIO:           "device not configured",
	unix.EPROTO:          "protocol error",
	unix.EISDIR:          "is a directory",
	unix.ECONNREFUSED:    "connection refused",
	unix.ENOTDIR:         "not a directory",
	unix.ESRCH:           "no such process",
	unix.E2BIG:           "argument list too long",
	unix.ENOEXEC:         "exec format error",
	unix.EBADF:           "file descriptor not open",
	unix.ECHILD:          "no child processes",
	unix.EDEADLK:         "operation would cause deadlock",
	unix.EFAULT:          "bad address",
	unix.ENOTBLK:         "not a block device",
	unix.EBUSY:           "device busy",
	unix.EXDEV:           "cross-device link",
	unix.ENODEV:          "device does not support operation",
	unix.EINVAL:          "invalid argument",
	unix.ENFILE:          "system cannot open more files",
	unix.EMFILE:          "process cannot open more files",
	unix.ENOTTY:          "not a tty",
	unix.EFBIG:           "file too big",
	unix.ENOSPC:          "out of disk space",
	unix.ESPIPE:          "unseekable descriptor",
	unix.EROFS:           "read-only file system",
	unix.EMLINK:          "too many links",
	unix.EDOM:            "input out of range",
	unix.ERANGE:          "output out of range",
	unix.EALREADY:        "operation already in progress",
	unix.ENOTSOCK:        "not a socket",
	unix.EDESTADDRREQ:    "destination address required",
	unix.EMSGSIZE:        "message too long",
	unix.EPROTOTYPE:      "incorrect protocol type",
	unix.ENOPROTOOPT:     "protocol not available",
	unix.EPROTONOSUPPORT: "protocol not supported",
	unix.ESOCKTNOSUPPORT: "socket type not supported",
	unix.EOPNOTSUPP:      "operation not supported",
	unix.EPFNOSUPPORT:    "protocol family not supported",
	unix.EAFNOSUPPORT:    "address family not supported",
	unix.EADDRINUSE:      "address already used",
	unix.EADDRNOTAVAIL:   "address not available",
	unix.ENETDOWN:        "network down",
	unix.ENETUNREACH:     "network unreachable",
	unix.ENETRESET:       "network reset",
	unix.ECONNABORTED:    "connection aborted",
	unix.ECONNRESET:      "connection reset",
	unix.ENOBUFS:         "out of buffer space",
	unix.EISCONN:         "already connected",
	unix.ENOTCONN:        "not connected",
	unix.ESHUTDOWN:       "socket shut down",
	unix.ETOOMANYREFS:    "too many references",
	unix.ELOOP:           "symbolic link loop",
	unix.ENAMETOOLONG:    "file name too long",
	unix.EHOSTDOWN:       "host down",
	unix.EHOSTUNREACH:    "host unreachable",
	unix.ENOTEMPTY:       "directory not empty",
	unix.EUSERS:          "too many users",
	unix.EDQUOT:          "disk quota exceeded",
	unix.ESTALE:          "stale NFS file handle",
	unix.EREMOTE:         "too many levels of remote in path",
	unix.ENOLCK:          "no locks available",
	unix.ENOSYS:          "system call not available",
	unix.ENOSTR:          "not a stream device",
	unix.ETIME:           "timer expired",
	unix.ENOSR:           "out of stream resources",
	unix.ENOMSG:          "no message of desired type",
	unix.EBADMSG:         "bad message type",
	unix.EIDRM:           "identifier removed",
	unix.ENONET:          "machine not on network",
	unix.ENOLINK:         "link severed",
	unix.EADV:            "advertise error",
	unix.ESRMNT:          "srmount error",
	unix.ECOMM:           "communication error",
	unix.EMULTIHOP:       "multihop attempted",
	unix.EREMCHG:         "remote address changed",
}
