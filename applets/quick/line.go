// Package quick answers sv status, which scripts and monitors call often, before Go has
// initialised the packages that the rest of the suite is made of: that takes longer than
// the answer. It does so where all is as usual, and leaves everything else, and so every
// message but the status line, to package applets. To be initialised among the first it
// imports nothing that is, and makes its few system calls itself.
package quick

// Dirs are the directories where sv looks for bare service names when SVDIR is not set:
// the first that exists. The build can set another list.
var Dirs = "/service:/var/service:/etc/service"

// Status is what supervise/status tells of a service.
type Status struct {
	Since    int64 // the last change to run or to down, in seconds since 1970
	PID      uint32
	Paused   bool
	WantUp   bool
	WantDown bool // neither of them: that is not known
	Termed   bool
	State    byte
}

// states are the words for the states; a greater one has none.
var states = [...]string{"down", "run", "finish"}

// AppendLine appends the line of sv status to b: of a service called name, with a down
// file or without, at the second now.
func AppendLine(b []byte, name string, s Status, down bool, now int64) []byte {
	if int(s.State) < len(states) {
		b = appendText(b, states[s.State]+": ")
	}
	b = appendText(b, name+": ")
	if s.State != 0 {
		b = appendText(appendNumber(appendText(b, "(pid "), int64(s.PID)), ") ")
	}
	b = appendText(appendNumber(b, max(0, now-s.Since)), "s")
	runs := s.PID != 0
	b = appendIf(b, runs && down, ", normally down")
	b = appendIf(b, !runs && !down, ", normally up")
	b = appendIf(b, runs && s.Paused, ", paused")
	b = appendIf(b, !runs && s.WantUp, ", want up")
	b = appendIf(b, runs && s.WantDown, ", want down")
	return appendIf(b, runs && s.Termed, ", got TERM")
}

func appendIf(b []byte, holds bool, text string) []byte {
	if holds {
		return appendText(b, text)
	}
	return b
}

func appendText(b []byte, text string) []byte { return append(b, text...) }

// appendNumber appends n, which is not negative, in decimal digits.
func appendNumber(b []byte, n int64) []byte {
	var digits [20]byte
	at := len(digits)
	for {
		at--
		digits[at] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(b, digits[at:]...)
		}
	}
}
