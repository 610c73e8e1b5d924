package applets

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// screen is what text for people is fitted to.
type screen struct {
	width  int  // columns; 0 is no limit
	colour bool // a terminal that may be coloured
	moves  bool // and on which the cursor can be moved
}

// screenOf looks at where out leads. COLUMNS says the width, where it is set; without
// it only a terminal has one. NO_COLOR, and a dumb terminal, have no colours.
func screenOf(out io.Writer) screen {
	var s screen
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	if !isTerminal(out) {
		return s
	}
	if s.width == 0 {
		s.width = 80
		if size, err := unix.IoctlGetWinsize(int(out.(*os.File).Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			s.width = int(size.Col)
		}
	}
	term := os.Getenv("TERM")
	s.moves = term != "" && term != "dumb"
	s.colour = s.moves && os.Getenv("NO_COLOR") == ""
	return s
}

// The colours of states.
const (
	plain  = ""
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

// paint colours text, where the screen has colours.
func (s screen) paint(colour, text string) string {
	if !s.colour || colour == plain {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// column is one of a table.
type column struct {
	head  string
	keep  int  // what has less is left out first where there is no room
	right bool // numbers end at the same place
	least int  // it may be cut down to so many columns; 0 is never
}

// cell is one of a row.
type cell struct {
	text, colour string
}

// table writes rows under the heads of columns, as they fit the screen: columns in
// which nothing stands are left out, then those that are worth least, and what is
// too long after that is cut.
func (s screen) table(out io.Writer, columns []column, rows [][]cell) {
	widths := make([]int, len(columns))
	total := -2
	for i, c := range columns {
		used := false
		for _, row := range rows {
			used = used || row[i].text != ""
			widths[i] = max(widths[i], width(row[i].text))
		}
		if widths[i] = max(widths[i], width(c.head)); !used && c.keep < maxKeep {
			widths[i] = -2
		}
		total += widths[i] + 2
	}
	need := func() int { // what is there at least
		sum := total
		for i, c := range columns {
			if widths[i] >= 0 && c.least > 0 {
				sum -= max(0, widths[i]-c.least)
			}
		}
		return sum
	}
	for s.width > 0 && need() > s.width {
		worst := -1
		for i, c := range columns {
			if widths[i] >= 0 && c.keep < maxKeep && (worst < 0 || c.keep < columns[worst].keep) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		total -= widths[worst] + 2
		widths[worst] = -2
	}
	for i := len(columns) - 1; i >= 0 && s.width > 0; i-- { // the last is cut first
		if over := total - s.width; over > 0 && widths[i] >= 0 && columns[i].least > 0 {
			cut := min(over, max(0, widths[i]-columns[i].least))
			widths[i] -= cut
			total -= cut
		}
	}
	heads := make([]cell, len(columns))
	for i, c := range columns {
		heads[i].text = c.head
	}
	for _, row := range append([][]cell{heads}, rows...) {
		var b strings.Builder
		gap := 0
		for i, c := range columns {
			if widths[i] < 0 {
				continue
			}
			text := cut(row[i].text, widths[i])
			pad := widths[i] - width(text)
			if c.right {
				gap, pad = gap+pad, 0
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", gap))
				b.WriteString(s.paint(row[i].colour, text))
				gap = 0
			} else {
				gap += width(text)
			}
			gap += pad + 2
		}
		fmt.Fprintln(out, b.String())
	}
}

// maxKeep is of columns that are never left out.
const maxKeep = 100

// width is how many columns of a terminal text takes; it has no control characters.
func width(text string) (n int) {
	for _, r := range text {
		switch {
		case r < 0x1100:
			n++
		case r <= 0x115f, 0x2e80 <= r && r <= 0xa4cf, 0xac00 <= r && r <= 0xd7a3, 0xf900 <= r && r <= 0xfaff,
			0xfe30 <= r && r <= 0xfe6f, 0xff00 <= r && r <= 0xff60, 0x1f300 <= r && r <= 0x1faff, 0x20000 <= r && r <= 0x3ffff:
			n += 2
		default:
			n++
		}
	}
	return n
}

// cut shortens text to so many columns; a tilde tells that something is missing.
func cut(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	n := 0
	for i, r := range text {
		if n += width(string(r)); n > columns-1 {
			return text[:i] + "~"[:min(1, max(0, columns))]
		}
	}
	return text
}

// printable is text with what a terminal would act on, and what is no UTF-8, told in
// other characters: \n, \x1b, \u202e.
func printable(text string) string {
	clean := true
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	var b []byte
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ' || r == 0x7f || r == utf8.RuneError && size == 1:
			b = fmt.Appendf(b, `\x%02x`, text[at])
		case acts(r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, text[at:at+size]...)
		}
		at += size
	}
	return string(b)
}

// acts says whether a character above ASCII does something to a terminal or to the
// order of what stands beside it.
func acts(r rune) bool {
	return 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// shortAge tells a time span in few characters: 42s, 5m, 3h12m, 2d4h, 400d.
func shortAge(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 100:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm", s/60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	case s < 100*86400:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	}
	return fmt.Sprintf("%dd", s/86400)
}

// shortBytes tells a size in few characters: 812K, 3.4M, 12M, 1.5G.
func shortBytes(n int64) string {
	const units = "KMGTPE"
	f, i := float64(n)/1024, 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if f < 9.95 && i > 0 {
		return fmt.Sprintf("%.1f%c", f, units[i])
	}
	return fmt.Sprintf("%.0f%c", f, units[i])
}

// shortCPU tells a processor time: 0.3s, 12s, 5m03s, 3h12m.
func shortCPU(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}
