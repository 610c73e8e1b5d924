package core

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runitbox/supervise/machine"
)

// TestCircles: services of which each line tells what one needs, and how old its entries
// are; a circle is broken at the youngest.
func TestCircles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines string // service: need made, ...
		want  string
	}{
		{"none", "a: b 1, c 2; b: c 3", ""},
		{"two that need each other", "a: b 1; b: a 2", "b needs a needs b: b, a"},
		{"the older way round", "a: b 2; b: a 1", "b needs a needs b: a, b"},
		{"itself", "a: a 1", "a needs a: a, a"},
		{"three, and one outside", "d: a 9; a: b 1; b: c 3; c: a 2", "c needs a needs b needs c: b, c"},
		{"two at once", "a: b 1, c 1; b: d 1; c: d 1; d: a 2", "d needs a needs b needs d: d, a"},
		{"two that share no entry", "a: b 1, c 1; b: a 2; c: a 3", "b needs a needs b: b, a\nc needs a needs c: c, a"},
		{"read again it stays broken", "a: b 1; b: a 2; b: a 2; a: b 1", "b needs a needs b: b, a"},
		{"mended", "a: b 1; b: a 2; a: c 1; b: a 2; a: b 1", "b needs a needs b: b, a\na needs b needs a: b, a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n needs
			made := map[string]int64{}
			var got []string
			for line := range strings.SplitSeq(tt.lines, "; ") {
				name, entries, _ := strings.Cut(line, ": ")
				var list []string
				for entry := range strings.SplitSeq(entries, ", ") {
					list = append(list, entry[:1])
					made[name+entry[:1]] = int64(entry[2])
				}
				for _, c := range n.set(name, list, func(who, what string) int64 { return made[who+what] }) {
					got = append(got, strings.Join(c.names, " needs ")+": "+c.who+", "+c.what)
				}
			}
			if d := cmp.Diff(tt.want, strings.Join(got, "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestNeedsAreToldOnce: what a service waits for is said once, and what may change by
// itself not at once.
func TestNeedsAreToldOnce(t *testing.T) {
	var n needs
	n.set("web", []string{"db", "mail"}, nil)
	down, failed := lack{"db", machine.Stopped}, lack{"mail", machine.GivenUp}
	for i, tt := range []struct {
		lacks []lack
		late  bool
		want  string
	}{
		{[]lack{down}, false, ""},
		{[]lack{{"db", machine.Coming}}, true, ""},
		{[]lack{down}, false, "db, which is down"},
		{[]lack{down}, true, ""},
		{[]lack{down, failed}, false, "db, which is down; mail, which was given up"},
		{[]lack{{"db", machine.Absent}}, false, "db, which is not supervised"},
	} {
		if got := n.trouble("web", tt.lacks, tt.late); got != tt.want {
			t.Errorf("%d: %q, want %q", i, got, tt.want)
		}
	}
	n.leave(&service{name: "web"})
	if got := n.trouble("web", []lack{down, failed}, false); got != "mail, which was given up" {
		t.Errorf("at the next start: %q", got)
	}
}
