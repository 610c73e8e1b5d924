//go:build !slim

package applets

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/survey"
)

// synonyms are words of other tools, and what they are here.
func synonyms() map[string]string {
	return map[string]string{
		"tail": "log", "logs": "log", "journal": "log", "follow": "log", "cat": "log",
		"ls": "list", "ps": "list", "top": "list", "all": "list", "services": "list",
		"history": "why", "explain": "why", "show": "why", "describe": "why", "diagnose": "why",
		"stats": "status", "info": "status", "state": "status", "is-active": "check",
		"monitor": "watch", "events": "watch", "usr1": "1", "usr2": "2", "hangup": "hup", "int": "interrupt",
		"help": "--help", "usage": "--help", "add": "enable", "link": "enable", "remove": "disable", "delete": "disable", "unlink": "disable",
		"resume": "cont", "continue": "cont", "suspend": "pause", "abort": "kill", "destroy": "kill", "unpause": "cont",
	}
}

// nearestCommand is what a word was probably meant to be, "" where that cannot be told.
func nearestCommand(word string) string {
	synonyms := synonyms()
	if meant := synonyms[word]; meant != "" {
		return meant
	}
	var names []string
	for _, a := range actions {
		if len(a.word) > 1 {
			names = append(names, a.word)
		}
		if len(a.meant) > 1 {
			names = append(names, a.meant)
		}
	}
	for _, v := range verbs {
		names = append(names, v.name)
	}
	if near := survey.Nearest(word, names); near != "" {
		return near
	}
	return synonyms[survey.Nearest(word, slices.Sorted(maps.Keys(synonyms)))]
}

// noCommand tells that a word is none, and which is near.
func noCommand(word string) string {
	text := fmt.Sprintf("%s: no such command", printable(word))
	if near := nearestCommand(word); near != "" {
		text += "; the nearest is " + near
	}
	return text
}

// isTyped says whether this process was called by a person at a terminal, and not by a
// script that runs there: a shell gives what is typed a process group of its own, which
// what a script calls shares with the script. Where the terminal is not that of the
// session nobody knows of scripts.
func (s *svCall) isTyped() bool {
	f, ok := s.err.(*os.File)
	if !ok || !isTerminal(s.err) {
		return false
	}
	if unix.Getpgrp() == unix.Getpid() {
		return true
	}
	session, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGSID)
	own, errOwn := unix.Getsid(0)
	if err != nil || errOwn != nil || session != own {
		return true
	}
	comm, _ := os.ReadFile("/proc/" + strconv.Itoa(unix.Getppid()) + "/comm")
	switch strings.TrimSpace(string(comm)) {
	case "sudo", "doas", "su", "pkexec", "time", "chpst":
		return true
	}
	return false
}

// maxHints is how many causes a failure is explained with.
const maxHints = 2

// hint tells a person why a service could not be asked, and what to do.
func (s *svCall) hint(name string) {
	if !isTerminal(s.err) {
		return
	}
	one := survey.At(name, svPath(name), survey.Look{})
	if !isWell(one) {
		s.explainTo(one)
	}
}

// explainTo tells why a service is as it is, in a line or two.
func (s *svCall) explainTo(one *survey.Service) {
	for i, c := range survey.Why(one, svDir(), svCollection(), s.begin) {
		if i == maxHints {
			break
		}
		text := c.Text
		if c.Mend != "" {
			text += ": " + c.Mend
		}
		s.warn("%s: %s: %s", s.name, printable(one.Name), printable(text))
	}
}
