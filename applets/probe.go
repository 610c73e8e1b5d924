package applets

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/logger"
)

// newProbe asks whether somebody serves: what the check of a service does where a machine
// has neither curl nor socat.
func newProbe() *cobra.Command {
	const line = "runitbox probe [-w sec] address [text]"
	var wait string
	cmd := &cobra.Command{
		Use:   strings.TrimPrefix(line, "runitbox "),
		Short: "ask whether somebody serves at an address: for the check of a service",
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds, err := strconv.ParseUint(wait, 10, 16)
			if err != nil || len(args) < 1 || len(args) > 2 {
				return misuse{"", line, 100}
			}
			text := strings.Join(args[1:], "")
			if isForCurl(args[0]) {
				return fatal{"runitbox", 1, fmt.Errorf("unable to run curl: %w", askCurl(args[0], wait))}
			}
			to, request, err := aim(args[0])
			if err != nil {
				return fatal{"runitbox", 100, fmt.Errorf("probe: %w", err)}
			}
			if request == "" && text != "" {
				all, err := io.ReadAll(os.Stdin)
				if err != nil {
					return fatal{"runitbox", 111, fmt.Errorf("unable to %w", err)}
				}
				request = string(all)
			} else if text == "" && request != "" {
				text = "HTTP/"
			}
			if err := probe(to, request, text, time.Now().Add(time.Duration(seconds)*time.Second)); err != nil {
				return fatal{"runitbox", 1, fmt.Errorf("probe: %s: %w", args[0], cause(err))}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&wait, "wait", "w", "3", "give up after that many `seconds`")
	getoptErrors(cmd, "runitbox", line, 100)
	return cmd
}

// isForCurl says whether an address is a URL which takes names or secrets to be asked.
func isForCurl(address string) bool {
	host, plain := strings.CutPrefix(address, "http://")
	if !plain {
		return strings.HasPrefix(address, "https://")
	}
	host, _, _ = strings.Cut(host, "/")
	_, err := tcpAddress(host, 80)
	return err != nil
}

// askCurl becomes curl, or says why it cannot.
func askCurl(url, seconds string) error {
	return syscall.Exec("/usr/bin/env", []string{"env", "curl", "-sS", "-m", seconds, "-o", "/dev/null", url}, os.Environ())
}

// aim is where an address leads to, and the request that a URL stands for.
func aim(address string) (to unix.Sockaddr, request string, err error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "unix":
		return &unix.SockaddrUnix{Name: rest}, "", nil
	case "tcp":
		to, err = tcpAddress(rest, 0)
		return to, "", err
	case "http":
		host, path, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
		to, err = tcpAddress(host, 80)
		return to, "GET /" + path + " HTTP/1.0\r\nHost: " + host + "\r\n\r\n", err
	}
	return nil, "", errors.New(address + ": want http://HOST/, tcp:HOST:PORT or unix:PATH")
}

// tcpAddress reads HOST:PORT, where HOST is a number or localhost; without a port it is
// the given one.
func tcpAddress(text string, port int) (unix.Sockaddr, error) {
	host := text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		n, err := strconv.ParseUint(text[i+1:], 10, 16)
		if err != nil {
			return nil, errors.New(text + ": no such port")
		}
		host, port = text[:i], int(n)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := logger.ParseAddress(host)
	switch {
	case err != nil || port == 0:
		return nil, errors.New(text + ": want an address and a port")
	case len(a.IP) == 4:
		return &unix.SockaddrInet4{Addr: [4]byte([]byte(a.IP)), Port: port}, nil
	}
	return &unix.SockaddrInet6{Addr: [16]byte([]byte(a.IP)), Port: port}, nil
}

// probe connects, sends the request and reads the answer until text is in it, if there is
// a text.
func probe(to unix.Sockaddr, request, text string, until time.Time) error {
	family := unix.AF_UNIX
	switch to.(type) {
	case *unix.SockaddrInet4:
		family = unix.AF_INET
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	conn := os.NewFile(uintptr(fd), "connection")
	defer conn.Close()
	if err := connect(fd, to, until); err != nil {
		return err
	}
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, request); err != nil || text == "" {
		return err
	}
	answer := make([]byte, 0, 1<<16)
	for !strings.Contains(string(answer), text) {
		n, err := conn.Read(answer[len(answer):cap(answer)])
		answer = answer[:len(answer)+n]
		if n == 0 {
			if err == nil || err == io.EOF { // or there is no room for more
				err = errors.New("what it answers has no " + strconv.Quote(text))
			}
			return err
		}
	}
	return nil
}

// connect waits for a connection.
func connect(fd int, to unix.Sockaddr, until time.Time) error {
	err := unix.Connect(fd, to)
	for err == unix.EINPROGRESS || err == unix.EINTR {
		left := max(0, time.Until(until).Milliseconds())
		n, pollErr := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(left))
		switch {
		case pollErr == unix.EINTR:
		case pollErr != nil:
			return pollErr
		case n == 0:
			return os.ErrDeadlineExceeded
		default:
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && errno != 0 {
				err = syscall.Errno(errno)
			}
			return err
		}
	}
	return err
}
