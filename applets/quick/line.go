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
		b = append(append(b, states[s.State]...), ": "...)
	}
	b = append(append(b, name...), ": "...)
	if s.State != 0 {
		b = append(appendNumber(append(b, "(pid "...), int64(s.PID)), ") "...)
	}
	b = append(appendNumber(b, max(0, now-s.Since)), 's')
	for _, flag := range [...]struct {
		set  bool
		text string
	}{
		{s.PID != 0 && down, ", normally down"},
		{s.PID == 0 && !down, ", normally up"},
		{s.PID != 0 && s.Paused, ", paused"},
		{s.PID == 0 && s.WantUp, ", want up"},
		{s.PID != 0 && s.WantDown, ", want down"},
		{s.PID != 0 && s.Termed, ", got TERM"},
	} {
		if flag.set {
			b = append(b, flag.text...)
		}
	}
	return b
}

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
