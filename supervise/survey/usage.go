package survey

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
)

// Usage is what the processes of a service take: the one that is supervised and
// what has come of it.
type Usage struct {
	Known     bool
	Processes int
	Memory    int64 // resident bytes; what processes share counts for each
	CPU       time.Duration
}

// maxProcesses bounds how many processes of one service are counted.
const maxProcesses = 10000

// Measure adds up what pid and its descendants take.
func Measure(pid int) (u Usage) {
	todo := []int{pid}
	for len(todo) > 0 && u.Processes < maxProcesses {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		threads, ok := u.add(p)
		if !ok {
			continue
		}
		todo = append(todo, children(p, threads)...)
	}
	return u
}

// add counts one process, and says how many threads it has.
func (u *Usage) add(pid int) (threads int, ok bool) {
	var room [1024]byte
	b, ok := slurp(proc.Path(pid, "stat"), room[:])
	if !ok {
		return 0, false
	}
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, false
	}
	var fields [22]uint64 // from the third of the line, the state, on
	n := 0
	for i := end + 2; i < len(b) && n < len(fields); n++ {
		for ; i < len(b) && b[i] != ' '; i++ {
			if '0' <= b[i] && b[i] <= '9' {
				fields[n] = 10*fields[n] + uint64(b[i]-'0')
			}
		}
		i++
	}
	if n < len(fields) {
		return 0, false
	}
	u.Known = true
	u.Processes++
	u.CPU += time.Duration(fields[11]+fields[12]) * 10 * time.Millisecond
	u.Memory += int64(fields[21]) * int64(os.Getpagesize())
	return int(fields[17]), true
}

// children are the processes that pid, which has so many threads, has made.
func children(pid, threads int) (all []int) {
	task := proc.Path(pid, "task/")
	if task == "" {
		return nil
	}
	tids := []string{strconv.Itoa(pid)}
	if threads > 1 {
		if d, err := os.Open(task); err == nil {
			tids, _ = d.Readdirnames(-1)
			d.Close()
		}
	}
	var room [1024]byte
	for _, tid := range tids {
		b, _ := slurp(task+tid+"/children", room[:])
		child := 0
		for _, c := range b { // each number has a blank behind it
			if c != ' ' {
				child = 10*child + int(c-'0')
				continue
			}
			all = append(all, child)
			child = 0
		}
	}
	return all
}

// slurp reads a file of /proc, into b if it has room for it. As the lines and numbers of
// such a file are short, one that leaves room is whole. Of a longer one a call of read(2)
// gives some four KiB.
func slurp(path string, b []byte) ([]byte, bool) {
	fd, err := sys.Open(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, b)
	if err == nil && len(b)-n <= 64 {
		b, err = os.ReadFile(path)
		return b, err == nil
	}
	return b[:max(n, 0)], err == nil
}
