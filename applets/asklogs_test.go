package applets

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/procenv"
	"runitbox/supervise/loghost"
	process "runitbox/supervise/self"
)

// anybody is who connects to a socket whoever listens there.
func anybody(uint32) bool { return true }

// asklogs is who tells the core of a tree, or a host of log services, what is not true:
//
//	asklogs ask FILE DIR WORD...  asks its parent, as a log service of those options with DIR
//	                              as its directory, and writes the answer's letter into FILE
//	asklogs settle FILE DIR WORD  the same, as a link to rsvlog
//	asklogs core PID, host PID    says all there is to be said; fails where that is answered
//	asklogs squat FILE            listens where a core of its pid would, in a process that
//	                              outlives it and writes what it is told into FILE
//	asklogs become :UID:GID...    becomes that user when it is told a byte, and tells one
func asklogs(argv []string) int {
	switch argv[0] {
	case "ask":
		return askAs(loghost.Ask, argv[1], argv[2], argv[3:])
	case "settle":
		return askAs(loghost.Settle, argv[1], argv[2], argv[3:])
	case "core", "host":
		pid, _ := strconv.Atoi(argv[1])
		return pester(pid, map[string]string{"core": loghost.AtCore, "host": loghost.AtHost}[argv[0]])
	case "squat":
		me, _ := os.Executable()
		cmd := &exec.Cmd{Path: me, Args: []string{"asklogs", "keep", argv[1]}}
		for range 3 {
			fd := loghost.Listen(loghost.AtCore)
			if fd < 0 {
				return 1
			}
			unix.SetNonblock(fd, false)
			cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "socket"))
		}
		if cmd.Start() != nil {
			return 1
		}
		return 0
	case "become":
		return becomeToldTo(argv[1])
	case "keep":
		for fd := 3; fd < 6; fd++ {
			go keep(fd, argv[1])
		}
		time.Sleep(time.Hour)
	}
	return 1
}

// askAs asks for a host, and stays where it is not told to end, as long as its input does.
func askAs(kind byte, file, dir string, options []string) int {
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	fd, _, ok := loghost.Meet(os.Getppid(), loghost.AtCore, anybody)
	if err != nil || !ok {
		os.WriteFile(file, []byte("nobody\n"), 0o644)
		return 1
	}
	process.LowerFiles()
	unix.SetNonblock(fd, false)
	loghost.Write(fd, loghost.Message{Kind: kind, Texts: loghost.Pack(options, []string{"A=b"}), FDs: []int{0, at, 2}})
	m, err := loghost.Read(fd)
	if err == nil && m.Kind == loghost.Soon {
		m, err = loghost.Read(fd)
	}
	os.WriteFile(file, fmt.Appendf(nil, "%c %v\n", m.Kind, err), 0o644)
	if m.Kind == loghost.Go {
		return 0
	}
	unix.Read(0, make([]byte, 1))
	time.Sleep(time.Hour)
	return 1
}

// becomeToldTo becomes an account as rsvlog does, and stays until its input ends.
func becomeToldTo(who string) int {
	account, err := procenv.LookUp(who)
	for range 2 {
		os.Stdout.Write([]byte("\n"))
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 0 || err != nil {
			return 1
		}
		err = account.Become()
	}
	return 0
}

// pester says all there is to be said to who listens. That is an answer, or that somebody
// listens to the end, is a failure.
func pester(pid int, what string) int {
	pipe, dir := [2]int{}, -1
	unix.Pipe(pipe[:])
	dir, _ = unix.Open("/", unix.O_RDONLY, 0)
	for _, kind := range []byte{loghost.Ask, loghost.Settle, loghost.Take, loghost.Run, loghost.Send, loghost.Claim, loghost.End, loghost.Known, loghost.Quit, loghost.Go, 0, 255} {
		for engine := uint32(0); engine < 4; engine++ {
			fd, _, ok := loghost.Meet(pid, what, anybody)
			if !ok {
				fmt.Println("nobody listens")
				return 1
			}
			unix.SetNonblock(fd, false)
			m := loghost.Message{Kind: kind, Engine: engine, Number: uint32(unix.SIGKILL), Texts: loghost.Pack([]string{"-v", "."}, nil), FDs: []int{pipe[0], dir, 2}}
			for loghost.Write(fd, m) == nil {
				m.Kind = loghost.Run
				time.Sleep(time.Millisecond)
			}
			if m, err := loghost.Read(fd); err == nil {
				fmt.Printf("%c is answered by %c\n", kind, m.Kind)
				return 1
			}
			unix.Close(fd)
		}
	}
	return 0
}

// keep notes what is told to who listens.
func keep(listener int, file string) {
	for {
		fd, _, err := unix.Accept(listener)
		if err != nil {
			continue
		}
		go func() {
			m, err := loghost.Read(fd)
			f, _ := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err == nil { // else he has gone without a word
				fmt.Fprintf(f, "%c %q\n", m.Kind, m.Texts)
			}
			f.Close()
		}()
	}
}
