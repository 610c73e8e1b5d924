package applets

import (
	"bytes"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// newSvChart shows when the present lives of services began, one below the other.
func newSvChart(s *svCall) *cobra.Command {
	var file string
	var past bool
	cmd := &cobra.Command{
		Use:   "sv chart [-p] [-o file.svg] [service ...]",
		Short: "show when services began, and for how long they have run",
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := s.survey(names, survey.Look{})
			if err != nil {
				return err
			}
			for _, one := range all {
				if one.Err != nil && (len(names) > 0 || !one.Unsupervised()) {
					s.failed++
					s.warn("%s", trouble(printable(one.Name), one.Err))
				}
			}
			bars := barsOf(all)
			if past {
				bars.addPast(s.begin)
			}
			if file == "" {
				bars.text(s.out, screenOf(s.stdout))
				return s.code()
			}
			var b bytes.Buffer
			bars.svg(&b)
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				return fatal{s.name, 111, err}
			}
			return s.code()
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write a picture (SVG) to this `file`")
	cmd.Flags().BoolVarP(&past, "past", "p", false, "show the lives before, too, until now: . not ready, = up, | told to end, x ended by itself")
	return cmd
}

// bar is one service in a chart.
type bar struct {
	name  string
	word  string // its state
	begin time.Time
	runs  bool
	known survey.Life
}

// chart is services in the order in which they began.
type chart struct {
	bars        []bar
	first, last time.Time // when the first and the last of them began
	past        bool      // with the lives before the present ones: last is the present moment
}

// addPast has the lives before the present ones shown, too.
func (c *chart) addPast(now time.Time) {
	c.past, c.last = true, now
	for _, b := range c.bars {
		for _, e := range b.known.Ends {
			if began := e.At.Add(-e.Lived); began.Before(c.first) {
				c.first = began
			}
		}
	}
}

// barsOf makes a chart of services; those whose state is not known are not in it.
func barsOf(all []*survey.Service) (c chart) {
	for _, s := range all {
		for ; s != nil; s = s.Log {
			if s.Err == nil {
				c.bars = append(c.bars, bar{s.Name, stateWord(s), s.Record.Since, s.Record.State == state.Run, s.Life})
			}
		}
	}
	sort.SliceStable(c.bars, func(i, j int) bool { return c.bars[i].begin.Before(c.bars[j].begin) })
	if n := len(c.bars); n > 0 {
		c.first, c.last = c.bars[0].begin, c.bars[n-1].begin
	}
	return c
}

// place is where in a chart of so many columns a moment is; the last of all begins at
// four fifths of it.
func (c chart) place(t time.Time, columns int) int {
	span := c.last.Sub(c.first)
	if span <= 0 {
		return 0
	}
	share := 0.8
	if c.past {
		share = 1
	}
	at := int(float64(columns) * share * float64(t.Sub(c.first)) / float64(span))
	return min(max(0, at), columns) // the clock may have been set
}

// text draws it with characters.
func (c chart) text(out io.Writer, to screen) {
	names := 7
	for _, b := range c.bars {
		names = max(names, min(24, width(printable(b.name))))
	}
	columns := 60
	if to.width > 0 {
		columns = max(10, to.width-names-2-10)
	}
	for _, b := range c.bars {
		name := cut(printable(b.name), names)
		at := c.place(b.begin, columns)
		if c.past {
			fmt.Fprintf(out, "%s%s  %8s %s\n", name, strings.Repeat(" ", names-width(name)), "+"+shortOffset(b.begin.Sub(c.first)), strings.TrimRight(c.lives(b, columns), " "))
			continue
		}
		line, colour := strings.Repeat("=", columns-at), green
		if !b.runs {
			line, colour = b.word, yellow
		}
		fmt.Fprintf(out, "%s%s  %8s %s%s\n", name, strings.Repeat(" ", names-width(name)), "+"+shortOffset(b.begin.Sub(c.first)), strings.Repeat(" ", at), to.paint(colour, cut(line, columns-at)))
	}
}

// lives draws all lives of a service.
func (c chart) lives(b bar, columns int) string {
	line := bytes.Repeat([]byte{' '}, columns)
	draw := func(begin, end time.Time, ready time.Duration) (last int) {
		from, to := c.place(begin, columns-1), c.place(end, columns-1)
		for i := from; i <= to; i++ {
			if line[i] = '='; ready > 0 && i < c.place(begin.Add(ready), columns-1) {
				line[i] = '.'
			}
		}
		return to
	}
	for _, e := range b.known.Ends {
		mark := byte('x')
		if e.Told {
			mark = '|'
		}
		line[draw(e.At.Add(-e.Lived), e.At, e.Ready)] = mark
	}
	if b.runs {
		draw(b.begin, c.last, b.known.Ready)
	}
	return string(line)
}

// shortOffset is a time after the first, with milliseconds where it is short.
func shortOffset(d time.Duration) string {
	if d < 100*time.Second {
		return fmt.Sprintf("%.3fs", d.Seconds())
	}
	return shortAge(d)
}

// markup is text as it stands in a picture.
func markup(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(text)
}

// svg draws it as a picture.
func (c chart) svg(out io.Writer) {
	const row, left, wide = 18, 200, 1000
	fmt.Fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", left+wide, row*(len(c.bars)+1))
	for i, b := range c.bars {
		at := c.place(b.begin, wide)
		for _, e := range b.known.Ends {
			if from := c.place(e.At.Add(-e.Lived), wide); c.past {
				fmt.Fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#999\"><title>%s</title></rect>", left+from, row*i+3, max(1, c.place(e.At, wide)-from), row-5, markup(pastLife(e, c.last)))
			}
		}
		fill := "#4a4"
		if !b.runs {
			fill = "#ca4"
		}
		fmt.Fprintf(out, "<text x=\"4\" y=\"%d\">%s</text>", row*i+14, markup(printable(b.name)))
		fmt.Fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"><title>%s, began at %s</title></rect>", left+at, row*i+3, wide-at, row-5, fill, markup(b.word), b.begin.UTC().Format(time.RFC3339Nano))
		fmt.Fprintf(out, "<text x=\"%d\" y=\"%d\">+%s</text>\n", left+at+3, row*i+14, shortOffset(b.begin.Sub(c.first)))
	}
	fmt.Fprintln(out, "</svg>")
}
