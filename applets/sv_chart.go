package applets

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// newSvChart shows when the present lives of services began, one below the other.
func newSvChart(s *svCall) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "sv chart [-o file.svg] [service ...]",
		Short: "show when services began, and for how long they have run",
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := s.survey(names, survey.Look{})
			if err != nil {
				return err
			}
			bars := barsOf(all)
			if file == "" {
				bars.text(s.out, screenOf(s.stdout))
				return nil
			}
			var b bytes.Buffer
			bars.svg(&b)
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				return fatal{s.name, 111, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write a picture (SVG) to this `file`")
	return cmd
}

// bar is one service in a chart.
type bar struct {
	name  string
	word  string // its state
	begin time.Time
	runs  bool
}

// chart is services in the order in which they began.
type chart struct {
	bars        []bar
	first, last time.Time // when the first and the last of them began
}

// barsOf makes a chart of services; those whose state is not known are not in it.
func barsOf(all []*survey.Service) (c chart) {
	for _, s := range all {
		for ; s != nil; s = s.Log {
			if s.Err == nil {
				c.bars = append(c.bars, bar{s.Name, stateWord(s), s.Record.Since, s.Record.State == state.Run})
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
	return int(float64(columns) * 0.8 * float64(t.Sub(c.first)) / float64(span))
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
		line, colour := strings.Repeat("=", columns-at), green
		if !b.runs {
			line, colour = b.word, yellow
		}
		fmt.Fprintf(out, "%s%s  %8s %s%s\n", name, strings.Repeat(" ", names-width(name)), "+"+shortOffset(b.begin.Sub(c.first)), strings.Repeat(" ", at), to.paint(colour, cut(line, columns-at)))
	}
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
