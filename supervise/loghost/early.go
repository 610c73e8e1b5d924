//go:build (amd64 || arm64) && !slim

package loghost

import (
	"unsafe" // also to link by name

	"golang.org/x/sys/unix"
)

// A svlogd whose log another takes does nothing but ask for that, and Go's runtime takes
// longer to begin than all the rest does. So it asks before: with the very first
// instructions of the process (the entry, in assembly, of which the linker is told), and
// ends there if it may. In every other case the runtime begins, and AskCore goes on with
// what has come of it, or asks itself.
//
// Here is no runtime: nothing can be allocated, no stack grows, and a mistake has nobody
// to be told to. So all memory is in variables of the package, and each function is nosplit.

// early is what has come of it, and its memory.
var early struct {
	fd     int32 // the connection; 0: nothing was asked
	peer   unix.Ucred
	answer [headSize]byte // its first is 0 where there is none
	soon   bool           // it was told that there will be one

	address [256]byte // with its family before it
	end     uint8     // of that
	head    [headSize]byte
	parts   [2]unix.Iovec
	rights  struct {
		unix.Cmsghdr
		fds [3]int32
	}
	message unix.Msghdr
	time    unix.Timeval
	size    uint32 // of peer
}

//go:linkname call syscall.RawSyscall6
func call(number, a, b, c, d, e, f uintptr) (result, second, errno uintptr)

// askEarly is called with the place where the kernel has put how many arguments there are,
// where each is, and behind a 0 where each string of the environment is.
//
//go:nosplit
func askEarly(stack unsafe.Pointer) {
	argc := *(*uintptr)(stack)
	if argc < 2 || !isLogger(text(stack, 1)) {
		return
	}
	begin, last := text(stack, 2), text(stack, argc)
	env := uintptr(0)
	for next := text(stack, argc+2); next != nil; next = text(stack, argc+2+env) {
		last = next
		env++
	}
	size := uintptr(last) - uintptr(begin) + length(last) + 1 // of all of them: they are one behind the other
	if size > messageMax-headSize {
		return
	}
	early.head[0] = Ask
	*(*uint32)(unsafe.Pointer(&early.head[textsAt])) = uint32(argc - 1)
	*(*uint32)(unsafe.Pointer(&early.head[textsAt+4])) = uint32(env)
	early.parts[0].Base, early.parts[0].Len = &early.head[0], headSize // each apart: as one it would take the runtime's help
	early.parts[1].Base, early.parts[1].Len = (*byte)(begin), uint64(size)
	fd, ok := meetEarly()
	if !ok {
		return
	}
	if !send(fd) {
		call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		return
	}
	early.fd = int32(fd)
	early.time.Sec = patience
	call(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, uintptr(unsafe.Pointer(&early.time)), unsafe.Sizeof(early.time), 0)
	call(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&early.answer)), headSize, 0, 0, 0)
	if early.answer[0] == Soon {
		early.soon, early.answer[0] = true, 0
		call(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&early.answer)), headSize, 0, 0, 0)
	}
	if early.answer[0] == Go {
		call(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}

// text is the string whose place stands there.
//
//go:nosplit
func text(stack unsafe.Pointer, at uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(stack, 8*at))
}

//go:nosplit
func length(text unsafe.Pointer) (n uintptr) {
	for *(*byte)(unsafe.Add(text, n)) != 0 {
		n++
	}
	return n
}

// isLogger says whether a program of this path is svlogd.
//
//go:nosplit
func isLogger(path unsafe.Pointer) bool {
	const name = "svlogd"
	n := length(path)
	if n < uintptr(len(name)) {
		return false
	}
	n -= uintptr(len(name))
	for i := range uintptr(len(name)) {
		if *(*byte)(unsafe.Add(path, n+i)) != name[i] {
			return false
		}
	}
	return n == 0 || *(*byte)(unsafe.Add(path, n-1)) == '/'
}

// meetEarly is Meet for a core where all is as usual.
//
//go:nosplit
func meetEarly() (fd uintptr, ok bool) {
	core, _, _ := call(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0)
	if core <= 1 {
		return 0, false
	}
	const begin, space = "\x01\x00\x00runitbox/" + AtCore + "/", "/proc/self/ns/pid\x00"
	for i := range uintptr(len(begin)) {
		add(begin[i])
	}
	const room = 64
	n, _, no := call(unix.SYS_READLINKAT, 0, uintptr(unsafe.Pointer(unsafe.StringData(space))), uintptr(unsafe.Pointer(&early.address[early.end])), room, 0, 0)
	if no != 0 || n == room {
		return 0, false
	}
	early.end += uint8(n)
	add('/')
	most := uintptr(1)
	for core/most > 9 {
		most *= 10
	}
	for ; most > 0; most /= 10 {
		add(byte('0' + core/most%10))
	}
	add('/')
	add('0')
	fd, _, no = call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if no != 0 {
		return 0, false
	}
	early.size = unix.SizeofUcred
	_, _, no = call(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&early.address)), uintptr(early.end), 0, 0, 0)
	if no == 0 {
		_, _, no = call(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERCRED, uintptr(unsafe.Pointer(&early.peer)), uintptr(unsafe.Pointer(&early.size)), 0)
	}
	me, _, _ := call(unix.SYS_GETEUID, 0, 0, 0, 0, 0, 0)
	if no != 0 || uintptr(early.peer.Pid) != core || early.peer.Uid != 0 && early.peer.Uid != uint32(me) || fd < 3 {
		call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		return 0, false
	}
	return fd, true
}

// add puts a byte behind the address.
//
//go:nosplit
func add(c byte) {
	early.address[early.end] = c
	early.end++
}

// send sends the message, with standard input, the working directory and standard error.
//
//go:nosplit
func send(fd uintptr) bool {
	const dot = ".\x00"
	at := unix.AT_FDCWD
	dir, _, no := call(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(unsafe.StringData(dot))), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
	if no != 0 {
		return false
	}
	early.rights.Len = unix.SizeofCmsghdr + 12
	early.rights.Level, early.rights.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	early.rights.fds = [3]int32{0, int32(dir), 2}
	m := &early.message
	m.Iov, m.Iovlen = &early.parts[0], 2
	m.Control, m.Controllen = (*byte)(unsafe.Pointer(&early.rights)), early.rights.Len
	_, _, no = call(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(m)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0, 0)
	call(unix.SYS_CLOSE, dir, 0, 0, 0, 0, 0)
	return no == 0
}
